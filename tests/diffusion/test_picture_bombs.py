"""Small files that would take all memory, or hours, are refused in a moment by what is wrong."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from diffusion.pictures import PictureUnusable, open_picture

MAX_GROWTH_KIB = 64 * 1024
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


def draw(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file, kind, **options)
    return file.getvalue()


def png(width: int, height: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1_000_000))
    parts = chunk(b"IHDR", header), chunk(b"IDAT", rows), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def webp() -> bytes:
    """Lossless, 16383 pixels on either side by its header."""
    data = bytearray(draw("WEBP", lossless=True))
    at = data.index(b"VP8L") + 9  # name, size and signature before
    bits = int.from_bytes(data[at : at + 4], "little")
    data[at : at + 4] = (bits & ~(2**28 - 1) | 16382 << 14 | 16382).to_bytes(4, "little")
    return bytes(data)


def gif() -> bytes:
    return draw("GIF")[:6] + struct.pack("<HH", 65_000, 65_000) + draw("GIF")[10:]


def tiff(width: int, height: int, tile_side: int = 0) -> bytes:
    """With one strip, or with one tile in which the picture is a corner."""
    pack = zlib.compressobj(9)
    content = b"".join(pack.compress(bytes(1024 * 1024)) for _ in range(tile_side**2 >> 20))
    content += pack.flush()
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1}
    at = 8 + 2 + 12 * (len(tags) + 4) + 4
    if tile_side:
        tags |= {322: tile_side, 323: tile_side, 324: at, 325: len(content)}
    else:
        tags |= {273: at, 278: height, 279: len(content), 296: 1}
    entries = b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())
    )
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + content


BOMBS = {
    "png": (lambda: png(60_000, 60_000), "is far larger"),
    "png under the limit of Pillow": (lambda: png(8_000, 8_000), "8000 × 8000 pixels"),
    "webp": (webp, "is far larger"),
    "tiff": (lambda: tiff(40_000, 40_000), "is far larger"),
    "tiff of one tile": (lambda: tiff(64, 64, 16_384), "in tiles of 16384 × 16384 pixels"),
    "bmp": (
        lambda: draw("BMP")[:18] + struct.pack("<ii", 30_000, 30_000) + draw("BMP")[26:],
        "far",
    ),
    "gif of a catalogue": (gif, "is far larger"),
}

MEASURE = """
import json, resource, sys
from diffusion.pictures import PictureUnusable, open_picture
from tests.diffusion.test_picture_bombs import BOMBS, draw
from PIL import Image
for kind in ("PNG", "WEBP", "TIFF", "GIF"): open_picture(draw(kind), formats=None)
told = {}
for name, (build, _) in BOMBS.items():
    data = build()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try: open_picture(data, formats=None)
    except PictureUnusable as error: why = str(error)
    told[name] = len(data), why, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def measured() -> dict[str, tuple[int, str, int]]:
    """In a process of its own, whose memory nothing else has grown before."""
    done = subprocess.run([sys.executable, "-c", MEASURE], check=True, capture_output=True)
    found: dict[str, tuple[int, str, int]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_what_it_is_and_takes_no_memory(measured, name):
    num_bytes, why, growth_kib = measured[name]
    assert num_bytes < 400_000
    assert BOMBS[name][1] in why
    assert growth_kib < MAX_GROWTH_KIB


def test_a_jpeg_of_a_thousand_scans_is_refused_before_the_first():
    data = draw("JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(PictureUnusable, match="more than 100 scans"):
        open_picture(data[:-2] + 1000 * scan + data[-2:])
    assert open_picture(data).size == (8, 8)


def test_no_picture_is_run_as_a_program(tmp_path, monkeypatch):
    """Where there is a Ghostscript, an EPS would be handed to it."""
    marker, program = tmp_path / "was-run", tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {marker}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    with pytest.raises(PictureUnusable, match="does not decode"):
        open_picture(EPS, formats=None)
    assert not marker.exists()
