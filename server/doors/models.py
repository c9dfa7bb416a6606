"""ModelService: shows, loads and unloads models, for those who run the server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from diffusion.families.specification import SpecificationInvalid
from etalage.v1 import models_pb2 as pb
from server.doors import wire
from server.errors import InvalidRequest, Violation
from server.models import Models
from server.revision import LoadFailure, Revision, State

SERVICE: str = pb.DESCRIPTOR.services_by_name["ModelService"].full_name
METHODS = tuple(
    f"{SERVICE}/{method.name}" for method in pb.DESCRIPTOR.services_by_name["ModelService"].methods
)
MAX_NAME = 64
MAX_PATH = 1024
SUFFIXES = (".yaml", ".yml")

_MAX_BYTES = 64 * 1024
_STATES: dict[State, Any] = {
    state: pb.ModelState.Value(f"MODEL_STATE_{state.name}") for state in State
}

Context = grpc.aio.ServicerContext[Any, Any]


class ModelService:
    """Answers once `attach` has given it a registry; the gate keeps requests out before."""

    def __init__(self) -> None:
        self._models: Models | None = None

    def attach(self, models: Models) -> None:
        self._models = models

    def handlers(self) -> grpc.GenericRpcHandler[Any, Any]:
        """All methods, to be added to a server."""
        methods: dict[str, tuple[Any, Any]] = {
            "ListModels": (self.list_models, pb.ListModelsResponse),
            "GetModel": (self.get_model, pb.GetModelResponse),
            "LoadModel": (self.load_model, pb.LoadModelResponse),
            "UnloadModel": (self.unload_model, pb.UnloadModelResponse),
        }
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                name: grpc.unary_unary_rpc_method_handler(
                    answer, response_serializer=kind.SerializeToString
                )
                for name, (answer, kind) in methods.items()
            },
        )

    async def list_models(self, data: bytes, context: Context) -> pb.ListModelsResponse:
        wire.parse(pb.ListModelsRequest, data, _MAX_BYTES)
        revisions = self._registry.revisions()
        return pb.ListModelsResponse(models=map(self._show, revisions))

    async def get_model(self, data: bytes, context: Context) -> pb.GetModelResponse:
        request = wire.parse(pb.GetModelRequest, data, _MAX_BYTES)
        _refuse(_check_name(request.name))
        return pb.GetModelResponse(model=self._show(self._registry.find(request.name)))

    async def load_model(self, data: bytes, context: Context) -> pb.LoadModelResponse:
        request = wire.parse(pb.LoadModelRequest, data, _MAX_BYTES)
        _refuse(_check_path(request.specification_path))
        before = self._registry.revisions()
        try:
            revision = await self._registry.load(Path(request.specification_path))
        except SpecificationInvalid as error:
            violation = Violation("specification_path", str(error))
            raise InvalidRequest(violation, reason="INVALID_SPECIFICATION") from error
        return pb.LoadModelResponse(model=self._show(revision), was_ready=revision in before)

    async def unload_model(self, data: bytes, context: Context) -> pb.UnloadModelResponse:
        request = wire.parse(pb.UnloadModelRequest, data, _MAX_BYTES)
        _refuse(_check_name(request.name))
        await self._registry.unload(request.name)
        return pb.UnloadModelResponse()

    @property
    def _registry(self) -> Models:
        assert self._models is not None  # the gate is shut until there is one
        return self._models

    def _show(self, revision: Revision) -> pb.ServedModel:
        registry = self._registry
        return revision_to_proto(revision, registry.devices, revision.name == registry.default)


def revision_to_proto(
    revision: Revision, devices: Iterable[str], is_default: bool
) -> pb.ServedModel:
    message = pb.ServedModel(
        name=revision.name,
        revision=revision.digest,
        state=_STATES[revision.state],
        is_default=is_default,
        specification_path="" if revision.path is None else str(revision.path),
        num_requests=revision.num_leases,
        step_times=[
            pb.BucketTime(num_rows=bucket, duration=_duration(seconds))
            for bucket, seconds in sorted(revision.step_s.items())
        ],
        devices=devices if revision.models else (),
    )
    if (facts := revision.facts) is not None:
        message.family, message.licence, message.dtype = facts.family, facts.licence, facts.dtype
        message.sizes.extend(pb.PictureSize(width=w, height=h) for w, h in facts.shapes)
        message.default_sampler, message.default_steps = facts.sampler, facts.steps
        message.styles.extend(facts.styles)
        message.shopper, message.product = facts.shopper, facts.product
        message.memory_bytes = facts.weights_bytes
    if revision.ready_s:
        message.ready_time.CopyFrom(_time(revision.ready_s))
    if revision.failure is not None:
        message.last_error.CopyFrom(_error(revision.failure))
    return message


def _error(failure: LoadFailure) -> pb.LoadError:
    return pb.LoadError(
        message=failure.message,
        specification_path=str(failure.path),
        time=_time(failure.failed_s),
    )


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


def _time(seconds: float) -> Timestamp:
    time = Timestamp()
    time.FromNanoseconds(round(seconds * 1e9))
    return time


def _refuse(violations: Iterable[Violation]) -> None:
    if found := tuple(violations):
        raise InvalidRequest(*found)


def _check_name(name: str) -> Iterator[Violation]:
    if not name:
        yield Violation("name", "is empty; it says which model")
    if len(name) > MAX_NAME:
        yield Violation("name", f"has {len(name)} characters; at most {MAX_NAME} are allowed")


def _check_path(path: str) -> Iterator[Violation]:
    field = "specification_path"
    if len(path) > MAX_PATH:
        yield Violation(field, f"has {len(path)} characters; at most {MAX_PATH} are allowed")
    elif "\0" in path or not path.endswith(SUFFIXES):
        yield Violation(field, f"{path[:40]!r} is no {' or '.join(SUFFIXES)} file")
