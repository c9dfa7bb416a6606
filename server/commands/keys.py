"""keys new: makes an API key. The server never has it, only its hash."""

from __future__ import annotations

import sys

from pydantic import ValidationError

from server.access.keys import hash_key, make_key
from server.access.tenants import Tenant


def make(name: str) -> int:
    """The key alone on standard output; on standard error what to put into the file of tenants."""
    key = make_key()
    told = hash_key(key)
    try:
        Tenant.model_validate({"name": name, "scopes": ["generate"], "keys": [told]})
    except ValidationError:
        print(f"keys: {name!r} is no name of a tenant: a-z, 0-9, '_', '.', '-'", file=sys.stderr)
        return 2
    print(key)
    print(
        f'# shown once; in the file of tenants, at the one called {name}:\nkeys: ["{told}"]',
        file=sys.stderr,
    )
    return 0
