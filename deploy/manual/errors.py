"""docs/reference/errors.md: every reason with its code, when it comes, and what to do.

Reasons and codes are read from the code: classes of server/errors.py, the calls that make them, and
the doors' table. A reason of which nothing is told below says what its class says.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from grpc import StatusCode

from deploy.manual.table import plain, tabulate
from etalage.cli import EXIT_CODES
from etalage.errors import CODE_TO_ERROR
from server import errors
from server.doors.status import FOREIGN_REASONS, find_code
from server.experiments import recording

SERVER = Path("server")
REASON = re.compile(r"[A-Z][A-Z_]+[A-Z]")

PREFACE = """# Errors

Written by `make manual` from `server/errors.py` and from where the server raises them.

An error is a gRPC status with details: an `ErrorInfo` of domain `etalage`, whose `reason` is one
of the words below and whose metadata has the `request_id`; a `BadRequest` that names each wrong
field, where the request is wrong; a `RetryInfo` where coming back helps, and the same pause as
`grpc-retry-pushback-ms` in the trailing metadata, which gRPC's own retries heed. Clients of Python
have a class for each code, with `.reason`, `.violations`, `.retry_after_s`, `.metadata` and
`.request_id`; the command `etalage` ends with the status that is named here. A repeat with the
same `request_id` is harmless: it gets the first answer. In a slate each product may have an error
of its own, with the same reasons; the call succeeds.
"""

TO_DO: Mapping[StatusCode, str] = {
    StatusCode.INVALID_ARGUMENT: "Change the request. Again without a change, it is refused again.",
    StatusCode.NOT_FOUND: "Nothing of that name is there. Come back once it is.",
    StatusCode.ABORTED: "Look what became of the other one, and try again.",
    StatusCode.FAILED_PRECONDITION: "Change what the server is or has; the request may be right.",
    StatusCode.RESOURCE_EXHAUSTED: "Wait for as long as `RetryInfo` says. Retried by our clients.",
    StatusCode.UNAUTHENTICATED: "Show other credentials (`docs/security.md`).",
    StatusCode.PERMISSION_DENIED: "Ask the operator for the scope (`docs/security.md`).",
    StatusCode.UNAVAILABLE: "Try again after the pause in `RetryInfo`. Retried by our clients.",
    StatusCode.DEADLINE_EXCEEDED: "Give more time, ask for fewer steps, or allow "
    "`DEADLINE_POLICY_DEGRADE`.",
    StatusCode.CANCELLED: "Nothing: somebody asked for it.",
    StatusCode.INTERNAL: "Look for the `request_id` in the server's log. No message text of an "
    "unexpected error leaves the server.",
}

WHEN: Mapping[str, str] = {
    "INVALID_REQUEST": "fields are missing, wrong or don't go together; each is named with what it "
    "may be",
    "MALFORMED_MESSAGE": "the bytes are no message of the method's type",
    "MESSAGE_TOO_LARGE": "the message is larger than `server.max_message_bytes`",
    "INVALID_SPECIFICATION": "the specification of a model that is to be loaded is wrong; file and "
    "field are named",
    "REQUEST_ID_REUSED": "the id was used before, for a request with other content",
    "KIT_FORBIDS": "the scene that is wished for is one that the brand kit bans",
    "PROMPT_DENIED": "a text has words that are denied: `creatives.denied_words`, or the brand "
    "kit's",
    "PRODUCT_NOT_FOUND": "the feature store has no such product; metadata: `product_id`",
    "MODEL_NOT_FOUND": "no such model is served; metadata: `model`",
    "BATCH_NOT_FOUND": "no such batch, or it was forgotten (`batches.keep_s`); metadata: `batch`",
    "EXPERIMENT_NOT_FOUND": "the programme has no such experiment; metadata: `experiment`",
    "MODEL_BUSY": "another load or unload of that model is under way; metadata: `model`",
    "FAILED_PRECONDITION": "the server is not in a state for that; the message says why",
    "NO_PACKSHOT": "no picture was good enough to be shown, and the product has no packshot",
    "MODEL_UNUSABLE": "a checkpoint is broken, or is not what was said of it",
    "DEFAULT_MODEL": "the model that answers where none is named can't be unloaded",
    "MODEL_IN_USE": "requests hold on to the old revision for too long; nothing was changed",
    "SHOPPER_ERASED": "the shopper was erased for good, or while their request waited in a batch",
    "CONSENT_ELSEWHERE": "consent is read from the shop's own feature repository, and is set there",
    "REPLICAS_UNAVAILABLE": "no replica of the model is there, or each that was tried died",
    "EXPORT_TOO_LARGE": "more is held of the shopper than `privacy.max_export_bytes`; "
    "`python -m server export-user` writes it to a file",
    "NO_EXPORT": "no event was exported yet, so there is nothing to report",
    "BAD_EXPORT": "a file of exported events can't be read",
    "EXPORT_OF_ANOTHER_DATABASE": "the exported events under home came from another "
    "`experiments.database`",
    "OVERLOADED": "no place is free, or the deadline can't be kept with the work that is there",
    "QUOTA_EXCEEDED": "the tenant's share is spent; a `QuotaFailure` says which",
    "NO_CREDENTIALS": "no key, token or certificate came with the call",
    "INVALID_CREDENTIALS": "nobody knows what was shown",
    "EXPIRED": "the token is over",
    "AMBIGUOUS_CREDENTIALS": "two credentials came, or those of two tenants",
    "SCOPE_MISSING": "the tenant may not call that method",
    "METHOD_NOT_ALLOWED": "nobody may call that method on this port",
    "UNAVAILABLE": "a part that the request needs is down",
    "STARTING": "the server is warming up; health says NOT_SERVING",
    "STOPPING": "the server is about to end; another one will take the request",
    "FEATURES_UNAVAILABLE": "the product's features can't be read; a shopper's only make the image "
    "generic",
    "PACKSHOT_UNAVAILABLE": "the product's packshot can't be read from where the store says it is",
    "MODEL_LOADING": "the model is being exchanged, with `model.swap` free_first",
    "ENGINE_STOPPED": "the sampling engine broke, and is being started again",
    "EVENTS_UNAVAILABLE": "the database of events can't be asked; nothing of the batch was kept",
    "EVENTS_DISK_FULL": "the disk of events is full; nothing of the batch was kept",
    "BATCHES_UNAVAILABLE": "the database of batches can't be asked",
    "ERASURES_UNAVAILABLE": "the database of erasures can't be asked; nothing was erased",
    "STORE_UNAVAILABLE": "a store that has something of the shopper can't be asked",
    "SIGNING_FAILED": "the image can't be signed, with `provenance.on_failure` refuse",
    "DEADLINE_EXCEEDED": "it could not be done in time, or was not",
    "CANCELLED": "it was cancelled by its id while it ran",
    "CANCELLED_BEFORE": "it was cancelled by its id before it came (`server.tombstone_s`)",
    "SAMPLING_FAILED": "this row broke in a forward; its batch mates did not",
    "INTERNAL": "nobody thought of it",
}

OF_EVENTS: Mapping[str, str] = {
    "EVENT_ID_MISSING": "it has no `event_id`, which makes a repeat harmless",
    "EVENT_ID_INVALID": "its id is too long, or not printable",
    "KIND_MISSING": "its kind is none that shops report",
    "VALUE_INVALID": "its value is no finite number from 0",
    "TOKEN_MISSING": "it has no `exposure_token`",
    "TOKEN_FORGED": "its token was signed by no key of this server",
    "TOKEN_EXPIRED": "its image was answered longer ago than `experiments.window_s`",
    "SHOPPER_ERASED": "its shopper was erased since the image was answered",
    "UNKNOWN_EXPERIMENT": "its experiment is not in the programme any more",
    "TIME_IN_FUTURE": "its time has not come yet, by more than a minute",
    "TIME_BEFORE_EXPOSURE": "its time is before the image was answered, by more than a minute",
}

_EVENTS = """
## Events

`RecordEvents` and `StreamEvents` succeed where some events are not sound: each of those is in
`rejections`, with its place, its id and a reason.
"""


def write() -> str:
    return "\n".join([PREFACE, *_write_codes(), _write_events()])


@cache
def find_reasons() -> dict[str, StatusCode]:
    """Every reason that may leave the server, with its code."""
    classes = {
        name: kind
        for name, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.EtalageError)
    }
    found = {
        kind.reason: find_code(kind) for kind in classes.values() if "reason" in vars(kind)
    } | {reason: find_code(kind) for kind, reason in FOREIGN_REASONS.items()}
    for name, reason in _find_calls(SERVER, set(classes)):
        found[reason] = find_code(classes[name])
    return found


def find_event_reasons() -> set[str]:
    return {reason for _, reason in _find_calls(Path(recording.__file__), {"Unsound"})}


def _write_codes() -> Iterator[str]:
    reasons = find_reasons()
    for code, to_do in TO_DO.items():
        kind = CODE_TO_ERROR[code]
        status = EXIT_CODES.get(kind, 1)
        rows = [
            (f"`{reason}`", WHEN.get(reason, "the message says why"))
            for reason, its_code in reasons.items()
            if its_code is code
        ]
        yield f"## {code.name}\n\n`etalage.{kind.__name__}`; status {status}. {to_do}\n"
        yield tabulate(("reason", "when"), _sort(rows))


def _sort(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """In the order in which they are told above."""
    order = [f"`{reason}`" for reason in WHEN]
    return sorted(rows, key=lambda row: order.index(row[0]) if row[0] in order else len(order))


def _write_events() -> str:
    reasons = sorted(find_event_reasons(), key=list(OF_EVENTS).index)
    rows = [(f"`{reason}`", plain(OF_EVENTS[reason])) for reason in reasons]
    return f"{_EVENTS}\n{tabulate(('reason', 'when'), rows)}"


def _find_calls(where: Path, names: set[str]) -> Iterator[tuple[str, str]]:
    """Calls of these classes with a reason in them, as (class, reason)."""
    files = sorted(where.rglob("*.py")) if where.is_dir() else [where]
    texts = [path.read_text("utf-8") for path in files]
    trees = [ast.parse(text) for text in texts if any(f"{name}(" in text for name in names)]
    constants = dict(pair for tree in trees for pair in _find_constants(tree))
    for node in (node for tree in trees for node in ast.walk(tree)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).rpartition(".")[2]
        if name in names:
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            for reason in (each for argument in given for each in _read(argument, constants)):
                yield name, reason


def _find_constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Of a module, such as STOPPED of the engine, whose parts are given with a star."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


def _read(argument: ast.expr, constants: Mapping[str, ast.expr]) -> Iterator[str]:
    if isinstance(argument, ast.Starred) and isinstance(argument.value, ast.Name):
        argument = constants.get(argument.value.id, argument)
    parts = argument.elts if isinstance(argument, ast.Tuple) else [argument]
    if isinstance(argument, ast.IfExp):
        parts = [argument.body, argument.orelse]
    for part in parts:
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            if REASON.fullmatch(part.value):
                yield part.value
