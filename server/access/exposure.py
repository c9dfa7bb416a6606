"""What may be opened to the network: nothing in plain text, and nothing to everybody, unless that
was said on purpose."""

from __future__ import annotations

import ipaddress

from server.configuration import Configuration


class Exposed(ValueError):
    """Says what would be open to whom, and which settings close it, or allow it."""


def check_exposure(configuration: Configuration) -> None:
    """Raises Exposed."""
    server, access = configuration.server, configuration.access
    for key, host in (("server.host", server.host), ("server.admin_host", server.admin_host)):
        if is_loopback(host):
            continue
        if access.certificate is None:
            _check_plain_text(key, host, configuration)
        if access.tenants is None and access.client_ca is None and not access.allow_anybody:
            raise Exposed(
                f"{key} = {host}: anybody who reaches it could call. Set access.tenants, or "
                "access.client_ca so that only clients with its certificates can, or allow it by "
                "access.allow_anybody = true"
            )


def _check_plain_text(key: str, host: str, configuration: Configuration) -> None:
    access = configuration.access
    if access.allow_plain_text and host in access.plain_text_addresses:
        return
    raise Exposed(
        f"{key} = {host}: everybody on the way could read along. Set access.certificate and "
        "access.key, or say twice that plain text is meant: access.allow_plain_text = true and "
        f"access.plain_text_addresses = {host}"
    )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
