"""Where fuzzing begins: the project's own messages, pictures and files of requests."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from google.protobuf.message import Message
from PIL import Image

from etalage.v1 import batches_pb2, enhancement_pb2, experiments_pb2, images_pb2, models_pb2
from etalage.v1 import layouts_pb2 as layouts
from etalage.v1 import scenes_pb2 as scenes
from tests.fuzz import harnesses

PACKSHOT = Path("features/world/packshots/backpack.webp")
ROWS = [
    {"product_id": "handbag", "user_id": "shopper-1", "steps": 4, "strength": 0.5, "seed": 7},
    {"product_id": "mug", "caption_price": "12.50 EUR", "locale": "pt-BR", "mode": "restyle"},
    {"product_id": "mug", "scene_avoided_palettes": "mint,sand", "localization_day": "2026-12-24"},
    {"title": "cup", "packshot": "cup.png", "attributes": '{"colour": "red"}', "sampler": "heun"},
    {"inline_product": {"title": "cup"}, "output": {"format": "IMAGE_FORMAT_WEBP"}},
]


def draw(kind: str, mode: str = "RGB", **options: object) -> bytes:
    pixels = np.random.default_rng(7).integers(0, 256, (9, 13, 4), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels, "RGBA").convert(mode).save(file, kind, **options)
    return file.getvalue()


def list_pictures() -> Iterator[bytes]:
    yield PACKSHOT.read_bytes()
    yield from (draw("PNG", mode) for mode in ("RGB", "RGBA", "L", "LA", "P", "1"))
    yield from (draw("JPEG", mode) for mode in ("RGB", "L", "CMYK"))
    yield from (draw("WEBP", mode) for mode in ("RGB", "RGBA"))
    yield draw("WEBP", lossless=True)
    yield from (draw("TIFF", compression=how) for how in ("raw", "tiff_lzw", "tiff_adobe_deflate"))
    yield from (draw(kind) for kind in ("GIF", "BMP", "ICO"))


def list_messages() -> tuple[Message, ...]:
    """A sound one for each of `harnesses.ASKING`, and an image of a product that comes along."""
    image = images_pb2.GenerateImageRequest(
        product_id="handbag",
        user_id="shopper-1",
        locale="pt-BR",
        steps=4,
        seed=7,
        guidance=images_pb2.Guidance(strength=0.5, product_scale=1),
        scene=scenes.Scene(brief="a quiet winter morning", avoided="snow"),
        localization=layouts.Localization(market="BR", occasion=True),
        caption=layouts.Caption(
            title=True, badge="new", price=layouts.Price(currency_code="EUR", units=12, nanos=5)
        ),
        experiment=images_pb2.ExperimentOverride(arm="generic"),
    )
    image.scene.palette = scenes.PALETTE_MINT
    image.localization.time.FromJsonString("2026-12-24T00:00:00Z")
    product = images_pb2.InlineProduct(title="cup", packshot=draw("PNG"), attributes={"a": "b"})
    own = images_pb2.GenerateImageRequest(inline_product=product, mode=images_pb2.MODE_CREATE)
    box = layouts.Box(left=1, top=1, width=20, height=20)
    style = layouts.TextStyle(size=12, colour="#1c1c1e")
    title = layouts.Layout.Element(kind=layouts.Layout.KIND_TITLE, box=box, text="cup", style=style)
    own.layout.CopyFrom(layouts.Layout(width=64, height=64, safe_area=box, elements=[title]))
    event = experiments_pb2.Event(event_id="e", exposure_token="abc", value=2)
    event.kind = experiments_pb2.EVENT_KIND_CLICK
    event.time.seconds = 1_800_000_000
    template = images_pb2.GenerateImageRequest(user_id="shopper-1", steps=2)
    repair = enhancement_pb2.EnhanceImageRequest(image=draw("PNG"), steps=2)
    repair.repairs.append(enhancement_pb2.REPAIR_RESTORE)
    return (
        *(image, images_pb2.StreamImageRequest(image=image, preview_side=64)),
        images_pb2.ExplainImageRequest(image=image, map_side=64),
        images_pb2.GenerateSlateRequest(product_ids=["mug", "cup"], template=template),
        images_pb2.CancelImageRequest(request_id="r-1"),
        batches_pb2.GenerateBatchRequest(requests=[image]),
        batches_pb2.ListBatchesRequest(page_size=7, page_token="YmF0Y2hlcyBiZWZvcmUgNw=="),
        repair,
        experiments_pb2.RecordEventsRequest(events=[event]),
        models_pb2.LoadModelRequest(specification_path="studio.yaml"),
        own,
    )


def list_requests() -> Iterator[bytes]:
    *messages, own = list_messages()
    for number, message in enumerate(messages):
        yield bytes([number]) + message.SerializeToString()
    yield bytes([0]) + own.SerializeToString()


def list_files() -> Iterator[bytes]:
    jsonl = "\n".join(map(json.dumps, ROWS)).encode()
    csv = b"product_id,user_id,steps,caption_price\nhandbag,s-1,4,12.50 EUR\nmug,,,\n"
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS[:2]), parquet)
    packed = (
        gzip.compress(jsonl),
        gzip.compress(csv),
        gzip.compress(parquet.getvalue()),
        bz2.compress(csv),
        lzma.compress(jsonl),
    )
    for number, content in enumerate((jsonl, csv, parquet.getvalue(), *packed)):
        yield bytes([number]) + content
    product = {"product_id": "mug", "title": "cup", "packshot": "none.webp"}
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "height": 9, "width": 9}],
        "annotations": [{"image_id": 1, "segmentation": [[1, 1, 5, 1, 5, 5]], "category_id": 3}],
    }
    yield bytes([144]) + json.dumps(product).encode()  # .jsonl of products
    yield bytes([145]) + b"product_id,title,packshot\nmug,cup,none.webp\n"
    yield bytes([129]) + json.dumps(coco).encode()


SEEDS = {"requests": list_requests, "pictures": list_pictures, "files": list_files}
assert SEEDS.keys() == harnesses.HARNESSES.keys()
