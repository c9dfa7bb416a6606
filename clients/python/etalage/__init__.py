"""Client of Etalage: how should this product look to this shopper?

creatives   what a creative should look like, and what is told about it
requests    from Python values to request messages
wishes      the same for scenes, markets, captions and layouts
credentials who calls: API keys and tokens
channels    TLS, retries, limits
client      the calls, for threads
aio         the calls, for asyncio
batches     the calls for jobs of many images
replies     from response messages to results
experiments what shoppers did with images, told back
privacy     shoppers erased, told what is held of them, asked for consent
enhancement what is wrong with a packshot, and how it looks repaired
provenance  where an image comes from
results     what a call gives back
errors      what can go wrong, translated once, by table
details     google.rpc error details
health      whether the server is ready
foreign     messages of other people's protos, read with protobuf alone
cli         the command `etalage`, with its cli_options
"""

from etalage.aio import AsyncClient
from etalage.batches import Batch, BatchFailure, Item
from etalage.channels import DEFAULT_SERVER, Retries
from etalage.client import Client
from etalage.creatives import (
    Box,
    Caption,
    Element,
    Explanation,
    Fidelity,
    Influence,
    Layout,
    Localization,
    Price,
    Scene,
    TextStyle,
    Try,
)
from etalage.enhancement import Enhanced, Finding
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
from etalage.experiments import (
    Experiment,
    ExperimentArm,
    ExperimentReport,
    Recorded,
    RejectedEvent,
    ShopEvent,
)
from etalage.privacy import ErasedStore, ErasureProof
from etalage.provenance import Origin, Signer, Verified
from etalage.requests import Product
from etalage.results import (
    Accepted,
    Answer,
    Cancellation,
    Enrolment,
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
    "Answer",
    "AsyncClient",
    "Batch",
    "BatchFailure",
    "Box",
    "Cancellation",
    "Cancelled",
    "Caption",
    "Client",
    "DeadlineExceeded",
    "Element",
    "Enhanced",
    "Enrolment",
    "ErasedStore",
    "ErasureProof",
    "EtalageError",
    "Event",
    "Experiment",
    "ExperimentArm",
    "ExperimentReport",
    "Explanation",
    "Fidelity",
    "Finding",
    "Image",
    "Influence",
    "InvalidArgument",
    "Item",
    "Layout",
    "Localization",
    "ModelInfo",
    "NotFound",
    "Origin",
    "Overloaded",
    "PermissionDenied",
    "Personalization",
    "Price",
    "Product",
    "Progress",
    "Recorded",
    "RejectedEvent",
    "Result",
    "Retries",
    "Scene",
    "ServerError",
    "ShopEvent",
    "Signer",
    "SlateItem",
    "TextStyle",
    "Try",
    "Unavailable",
    "Verified",
    "Violation",
]
