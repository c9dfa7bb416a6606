"""What may be opened to the network, and what must be said for it."""

import pytest

from server.access.exposure import Exposed, check_exposure
from server.commands.settings import load_configuration

TLS = {"access.certificate": "cert.pem", "access.key": "key.pem"}
TENANTS = {"access.tenants": "tenants.yaml"}
ANYBODY = {"access.allow_anybody": "true"}
PLAIN = {"access.allow_plain_text": "true", "access.plain_text_addresses": "0.0.0.0,::"}


def check(**flags):
    check_exposure(load_configuration(flags))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_on_this_machine_everything_goes(host):
    check(**{"server.host": host, "server.admin_host": host})


@pytest.mark.parametrize("key", ["server.host", "server.admin_host"])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "etalage.example", ""])
def test_plain_text_must_be_meant(key, host):
    with pytest.raises(Exposed, match=rf"{key} = {host}: .*access.allow_plain_text = true"):
        check(**{key: host}, **TENANTS)


def test_plain_text_is_said_twice_and_for_that_address():
    once = TENANTS | {"server.host": "0.0.0.0", "access.allow_plain_text": "true"}
    with pytest.raises(Exposed):
        check(**once)
    with pytest.raises(Exposed):
        check(**once, **{"access.plain_text_addresses": "10.0.0.1"})
    check(**once, **{"access.plain_text_addresses": "0.0.0.0"})
    check(**TENANTS, **PLAIN, **{"server.host": "0.0.0.0", "server.admin_host": "::"})


def test_nobody_serves_the_whole_network_by_accident():
    public = TLS | {"server.host": "0.0.0.0"}
    with pytest.raises(Exposed, match="server.host = 0.0.0.0: anybody"):
        check(**public)
    for enough in (TENANTS, ANYBODY, {"access.client_ca": "ca.pem"}):
        check(**public, **enough)
