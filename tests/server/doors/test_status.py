import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc import StatusCode

from diffusion.checkpoint import CheckpointUnusable
from server import errors
from server.doors.status import code_of, message_of, reason_of, status_of, trailers_of

ALL = [
    errors.InvalidRequest(errors.Violation("steps", "is 0")),
    errors.ProductNotFound("chair"),
    errors.ModelNotFound("studio"),
    errors.BatchNotFound("spring"),
    errors.ExperimentNotFound("faces"),
    errors.ModelBusy("studio"),
    errors.FailedPrecondition("it is the default", "DEFAULT_MODEL"),
    errors.Overloaded(1.5),
    errors.QuotaExceeded("shop", "9 images per minute", 1.5),
    errors.Unauthenticated("NO_CREDENTIALS"),
    errors.PermissionDenied("SCOPE_MISSING"),
    errors.Unavailable("stopping", "STOPPING"),
    errors.DeadlineExceeded("too late"),
    errors.SamplingFailed("broke"),
    errors.Cancelled("cancelled"),
]


def _subclasses(kind):
    return {kind, *(each for sub in kind.__subclasses__() for each in _subclasses(sub))}


def test_every_error_of_the_server_is_in_the_table():
    ours = {kind for kind in _subclasses(errors.EtalageError) if kind.__module__ == errors.__name__}
    assert {type(error) for error in ALL} == ours - {errors.EtalageError}
    codes = {code_of(error) for error in ALL}
    assert len(codes) == len(ALL) - 4  # not found: four things; overloaded: all, or a tenant
    assert len({reason_of(error) for error in ALL}) == len(ALL)


@pytest.mark.parametrize("error", [*ALL, ValueError("secret"), errors.DeadlineExceeded()])
def test_every_status_has_one_error_info_and_one_of_each_detail(error):
    status = status_of(error, "request-1")
    kinds = [detail.type_url for detail in status.details]
    assert len(kinds) == len(set(kinds))
    info = ErrorInfo.FromString(status.details[0].value)
    assert status.details[0].Is(ErrorInfo.DESCRIPTOR)
    assert info.domain == "etalage"
    assert info.reason == info.reason.upper() != ""
    assert info.metadata["request_id"] == "request-1"
    assert status.message
    assert "secret" not in str(status)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (errors.ProductNotFound("chair"), {"product_id": "chair"}),
        (errors.ModelNotFound("studio"), {"model": "studio"}),
        (errors.BatchNotFound("spring"), {"batch": "spring"}),
        (errors.ExperimentNotFound("faces"), {"experiment": "faces"}),
    ],
)
def test_what_was_not_found_is_told_by_its_kind(error, told):
    (info,) = status_of(error).details
    assert dict(ErrorInfo.FromString(info.value).metadata) == told


def test_an_error_nobody_expected_is_internal_with_a_fixed_sentence():
    assert code_of(KeyError("shopper-42")) is StatusCode.INTERNAL
    assert reason_of(KeyError("shopper-42")) == "INTERNAL"
    assert message_of(KeyError("shopper-42")) == message_of(RuntimeError())


def test_a_model_that_can_not_be_served_says_what_is_wrong_with_which_file():
    error = CheckpointUnusable("studio.yaml: source: nowhere is no folder")
    assert code_of(error) is StatusCode.FAILED_PRECONDITION
    assert reason_of(error) == "MODEL_UNUSABLE"
    assert message_of(error) == str(error)


def test_a_subclass_of_an_error_is_that_error():
    class Slow(errors.DeadlineExceeded):
        pass

    assert code_of(Slow("x")) is StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("letter", ["x", "ü", "椅", "🪑", "%"])
@pytest.mark.parametrize("num_violations", [1, 1000])
def test_all_of_an_error_fits_into_the_metadata_that_peers_accept(letter, num_violations):
    violations = [
        errors.Violation(f"product_ids[{n}]{letter * 500}", letter * 5000)
        for n in range(num_violations)
    ]
    for error in (
        errors.InvalidRequest(*violations),
        errors.ProductNotFound(letter * 100_000),
        errors.Unavailable(letter * 100_000),
    ):
        trailers = trailers_of(error, "r" * 128)
        in_base64 = sum(
            len(key) + (len(value) * 4 // 3 if isinstance(value, bytes) else len(value))
            for key, value in trailers
        )
        percent_encoded = 3 * len(message_of(error).encode())
        assert in_base64 + percent_encoded < 7500
        assert status_of(error).message == message_of(error)


def test_the_first_violations_are_told_and_all_are_counted():
    violations = [errors.Violation(f"field_{n}", "is wrong " * 10) for n in range(500)]
    status = status_of(errors.InvalidRequest(*violations))
    info = ErrorInfo.FromString(status.details[0].value)
    bad = BadRequest.FromString(status.details[1].value)
    assert info.metadata["num_violations"] == "500"
    assert 10 < len(bad.field_violations) < 500
    assert bad.field_violations[0].field == "field_0"
