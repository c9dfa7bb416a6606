"""Why a server does not start."""


class StartFailed(RuntimeError):
    """What answers can't be built from this configuration; says what is wrong with what."""
