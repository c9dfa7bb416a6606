"""A check of pictures that fails as no server expects, whenever a file says so."""

from pathlib import Path


class Moody:
    def __init__(self, mood: str) -> None:
        self._mood = Path(mood)

    def check(self, pixels: object) -> tuple[str, ...]:
        if self._mood.exists():
            raise RuntimeError(f"out of sorts about {type(pixels).__name__}")
        return ()
