"""Who may call, as the doors need it: opened once, and kept up with its files."""

from __future__ import annotations

from typing import Protocol

from server.access.certificates import Certificates, read_certificates
from server.access.reception import AccessObserver, Reception
from server.access.watched import Watch, Watched
from server.configuration import AccessSlice


class Observer(AccessObserver, Protocol):
    def certificate_expires(self, unix_s: float) -> None: ...


class Access:
    """Without a `reception` nobody is asked who they are, without `certificates` all is plain."""

    def __init__(
        self,
        reception: Reception | None = None,
        certificates: Watched[Certificates] | None = None,
        reload_s: float = 5.0,
    ) -> None:
        self.reception, self.certificates = reception, certificates
        watched = (each for each in (certificates, reception) if each is not None)
        self._watch = Watch(watched, reload_s)

    @classmethod
    def open(cls, settings: AccessSlice, observer: Observer) -> Access:
        """Raises ValueError, of which the text says which file and field."""
        reception = None if settings.tenants is None else Reception(settings.tenants, observer)
        return cls(reception, _open_certificates(settings, observer), settings.reload_s)

    def start(self) -> None:
        """Looks after changes from now on."""
        self._watch.start()

    async def close(self) -> None:
        await self._watch.close()


def _open_certificates(settings: AccessSlice, observer: Observer) -> Watched[Certificates] | None:
    chain, key, client_ca = settings.certificate, settings.key, settings.client_ca
    if chain is None or key is None:
        return None

    def read() -> Certificates:
        certificates = read_certificates(chain, key, client_ca)
        observer.certificate_expires(certificates.expires_s)
        return certificates

    files = [file for file in (chain, key, client_ca) if file is not None]
    return Watched("certificates", files, read, observer)
