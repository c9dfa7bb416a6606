"""models list, load, unload: asks a running server by its admin port."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import grpc

from etalage.channels import resolve_endpoint
from etalage.v1 import models_pb2 as pb
from etalage.v1.models_pb2_grpc import ModelServiceStub

TIMEOUT_S = 3600.0  # a large model takes minutes to load


def list_models(address: str, is_insecure: bool = False) -> int:
    """A line for each revision that the server holds."""
    return _ask(
        address, is_insecure, lambda stub: _print(*stub.ListModels(pb.ListModelsRequest()).models)
    )


def load_model(address: str, path: Path, is_insecure: bool = False) -> int:
    """Until it serves; what it replaces serves on till then."""
    request = pb.LoadModelRequest(specification_path=str(path.absolute()))
    return _ask(
        address, is_insecure, lambda stub: _print(stub.LoadModel(request, timeout=TIMEOUT_S).model)
    )


def unload_model(address: str, name: str, is_insecure: bool = False) -> int:
    """Until its last request has ended."""
    request = pb.UnloadModelRequest(name=name)
    return _ask(address, is_insecure, lambda stub: stub.UnloadModel(request, timeout=TIMEOUT_S))


def describe(model: pb.ServedModel) -> str:
    state = pb.ModelState.Name(model.state).removeprefix("MODEL_STATE_").lower()
    facts = [model.name, model.revision, state, model.family, model.licence]
    if model.is_default:
        facts.append("default")
    if model.HasField("last_error"):
        facts.append(f"last load failed: {model.last_error.message}")
    return "  ".join(fact for fact in facts if fact)


def _print(*models: pb.ServedModel) -> None:
    for model in models:
        print(describe(model))


def _ask(address: str, is_insecure: bool, call: Callable[[ModelServiceStub], object]) -> int:
    """The exit status: 1 where the server refuses or is not there, with its reason."""
    try:
        with closing(resolve_endpoint(address, insecure=is_insecure).open()) as channel:
            call(ModelServiceStub(channel))  # type: ignore[no-untyped-call]
    except grpc.RpcError as error:
        print(f"models: {address}: {error.details()}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:  # files and secrets of the connection
        print(f"models: {error}", file=sys.stderr)
        return 1
    return 0
