"""COCO JSON as a catalogue: an image is a product, its captions are titles, its masks are alpha."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Mask = NDArray[np.bool_]


def is_coco(document: object) -> bool:
    return isinstance(document, dict) and {"images", "annotations"} <= document.keys()


def read_coco(files: list[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of all files together (COCO keeps captions and instances apart), labelled by image id.

    Raises ValueError where a file is no COCO JSON.
    """
    documents = [json.loads(path.read_text("utf-8")) for path in files]
    if not all(map(is_coco, documents)):
        raise ValueError("not COCO: a JSON object with 'images' and 'annotations' is expected")
    names = {
        category["id"]: category.get("name", "")
        for document in documents
        for category in document.get("categories", [])
    }
    annotations: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for document in documents:
        for annotation in document["annotations"]:
            annotations[annotation.get("image_id")].append(annotation)
    shown: set[Any] = set()
    for document in documents:
        images = [image for image in document["images"] if image.get("id") not in shown]
        shown |= {image.get("id") for image in images}  # the same image again in another file
        for number, image in enumerate(images, 1):
            image_id = image.get("id")
            label = f"image number {number}" if image_id is None else f"image {image_id}"
            yield label, _to_row(image, annotations[image_id], names)


def _to_row(
    image: Mapping[str, Any], annotations: list[Mapping[str, Any]], names: Mapping[Any, str]
) -> dict[str, Any]:
    captions = [str(a["caption"]).strip() for a in annotations if "caption" in a]
    shapes = [a for a in annotations if a.get("segmentation")]
    categories = [names.get(a.get("category_id"), "") for a in annotations]
    return {
        "product_id": image.get("id"),
        "packshot": image.get("file_name") or image.get("coco_url"),
        "titles": {"en": captions[0]} if captions else {},
        "category": next((name for name in categories if name), ""),
        "segmentation": [a["segmentation"] for a in shapes],
        "size": (image.get("height"), image.get("width")),
        "timestamp": image.get("date_captured") or None,
    }


def draw_mask(segmentations: list[Any], height: int, width: int) -> Mask:
    """All shapes of a product together, bool [height, width]; ValueError where one is no shape."""
    mask = np.zeros((height, width), np.bool_)
    for segmentation in segmentations:
        if isinstance(segmentation, Mapping):
            mask |= _unroll(segmentation, height, width)
        elif isinstance(segmentation, list):
            mask |= _fill(segmentation, height, width)
        else:
            raise ValueError("a segmentation is a list of polygons or a run-length encoding")
    return mask


def _fill(polygons: list[list[float]], height: int, width: int) -> Mask:
    canvas = Image.new("1", (width, height))
    for polygon in polygons:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("a polygon needs three or more points")
        ImageDraw.Draw(canvas).polygon([float(number) for number in polygon], fill=1)
    return np.asarray(canvas, np.bool_)


def _unroll(encoded: Mapping[str, Any], height: int, width: int) -> Mask:
    """Run lengths of zeros and ones in turn, down the columns."""
    counts = encoded.get("counts")
    if list(encoded.get("size", ())) != [height, width] or counts is None:
        raise ValueError("a run-length encoding needs counts, and the size of its image")
    runs = _expand(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise ValueError("run lengths do not add up to the size of the image")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def _expand(text: str) -> list[int]:
    """COCO's compressed run lengths: five bits a character, and from the third run on differences
    to the run before the last (`rleFrString` in the COCO API)."""
    runs: list[int] = []
    number = shift = 0
    for character in text.encode("ascii"):
        bits = character - 48
        number |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                number -= 1 << shift
            runs.append(number + (runs[-2] if len(runs) > 2 else 0))
            number = shift = 0
    return runs
