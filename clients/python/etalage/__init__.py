"""Client of Etalage: how should this product look to this shopper?

requests    from Python values to request messages
channels    TLS, retries, limits
client      the calls, for threads
aio         the calls, for asyncio
replies     from response messages to results
results     what a call gives back
errors      what can go wrong, translated once, by table
details     google.rpc error details
health      whether the server is ready
foreign     messages of other people's protos, read with protobuf alone
cli         the command `etalage`
"""

from etalage.aio import AsyncClient
from etalage.channels import DEFAULT_SERVER, Retries
from etalage.client import Client
from etalage.errors import (
    Cancelled,
    DeadlineExceeded,
    EtalageError,
    InvalidArgument,
    NotFound,
    Overloaded,
    PermissionDenied,
    ServerError,
    Unavailable,
    Violation,
)
from etalage.requests import Product
from etalage.results import (
    Accepted,
    Cancellation,
    Event,
    Image,
    ModelInfo,
    Personalization,
    Progress,
    Result,
    SlateItem,
)

__all__ = [
    "DEFAULT_SERVER",
    "Accepted",
    "AsyncClient",
    "Cancellation",
    "Cancelled",
    "Client",
    "DeadlineExceeded",
    "EtalageError",
    "Event",
    "Image",
    "InvalidArgument",
    "ModelInfo",
    "NotFound",
    "Overloaded",
    "PermissionDenied",
    "Personalization",
    "Product",
    "Progress",
    "Result",
    "Retries",
    "ServerError",
    "SlateItem",
    "Unavailable",
    "Violation",
]
