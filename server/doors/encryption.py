"""TLS for a port, with whatever certificate is the current one when somebody connects."""

from __future__ import annotations

import grpc

from server.access.certificates import Certificates
from server.access.watched import Watched


def make_credentials(watched: Watched[Certificates]) -> grpc.ServerCredentials:
    """Clients must show a certificate where there is somebody who vouches for them."""
    shown = watched.value

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        """For each connection, on a thread of gRPC's: touches no file. None: as before."""
        nonlocal shown
        current = watched.value
        if current is shown:
            return None
        shown = current
        return _configure(current)

    return grpc.dynamic_ssl_server_credentials(
        _configure(shown),
        fetch,  # type: ignore[arg-type]  # whose None the stubs forget
        require_client_authentication=shown.client_ca is not None,
    )


def _configure(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    pair = (certificates.key, certificates.chain)
    return grpc.ssl_server_certificate_configuration([pair], certificates.client_ca)
