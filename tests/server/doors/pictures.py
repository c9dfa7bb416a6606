"""Image files, good and bad, made on the spot."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image


def encode(kind: str = "PNG", size: tuple[int, int] = (24, 16), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 128).save(buffer, kind)
    return buffer.getvalue()


def animate(kind: str) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "green", "blue")]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=100)
    return buffer.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A few hundred bytes whose header promises this many pixels, all zero and well compressed."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(bytes(100_000), 9)
    chunks = (b"IHDR", header), (b"IDAT", data), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, body) for name, body in chunks)


def png_with_a_text_bomb() -> bytes:
    """A small image with a compressed comment that unfolds into 100 MB."""
    text = b"comment\0\0" + zlib.compress(bytes(100_000_000), 9)
    good = encode("PNG")
    return good[:33] + _chunk(b"zTXt", text) + good[33:]


def jpeg_with_two_pictures() -> bytes:
    """As cameras write them, with a second view behind the first."""
    buffer = io.BytesIO()
    first, second = (Image.new("RGB", (16, 16), color) for color in ("red", "green"))
    first.save(buffer, "MPO", save_all=True, append_images=[second])
    return buffer.getvalue()


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
