"""A registry of models that are there already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusion.image_model import ImageModel
from server.commands.workshop import describe
from server.models import Models
from server.workshop import Workshop


class Unwatched:
    def model_state(self, name, state, change):
        pass

    def model_load(self, result, seconds):
        pass

    def model(self, name, digest):
        pass


def never(*_: Any) -> Any:
    raise AssertionError("nothing is to be loaded here")


def hold(models: Mapping[str, ImageModel]) -> Models:
    registry = Models(Workshop(never, never, never, describe), Unwatched())
    for name, model in models.items():
        registry.adopt(name, [model], describe(model))
    return registry
