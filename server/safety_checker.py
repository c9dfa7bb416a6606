"""The safety checker of Stable Diffusion, from a local folder, as a check of pictures.

Set `server.safety_checker:load` with the option `folder`, which holds what Stable Diffusion keeps
in `safety_checker` and `feature_extractor`.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

UNSAFE = "unsafe"


class StableDiffusionCheck:
    """It only tells: the black picture that the checker would put in place is not used."""

    def __init__(self, checker: Any, processor: Any) -> None:
        self._checker, self._processor = checker, processor
        self._lock = Lock()  # each takes all threads of torch anyway

    @torch.inference_mode()
    def check(self, pixels: NDArray[np.uint8]) -> tuple[str, ...]:
        seen = self._processor(pixels, return_tensors="pt").pixel_values
        with self._lock:
            # It writes into the pictures that it is given: one of a single pixel will do.
            _, flags = self._checker(
                images=[np.zeros((1, 1, 3))], clip_input=seen.to(self._checker.device)
            )
        return (UNSAFE,) if flags[0] else ()


def load(folder: str, device: str = "cpu") -> StableDiffusionCheck:
    """Nothing is downloaded. Raises OSError."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    root = Path(folder)
    checker = StableDiffusionSafetyChecker.from_pretrained(
        root / "safety_checker", use_safetensors=True, local_files_only=True
    )
    processor = CLIPImageProcessor.from_pretrained(
        root / "feature_extractor", local_files_only=True
    )
    return StableDiffusionCheck(checker.to(device).eval(), processor)
