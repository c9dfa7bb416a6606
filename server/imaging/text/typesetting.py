"""Lines of one size, and the largest size at which a text fits a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.imaging.text.breaking import balance, break_lines, cuts_words, shorten
from server.imaging.text.fonts import Fonts
from server.imaging.text.shaping import Line, shape_line

# In em: what a box holds at least above and below its outer baselines, so that lines of capitals
# and lines without descenders stand alike, and the least distance of two baselines.
CAPITALS, DESCENT, PITCH, CLEARANCE = 0.72, 0.2, 1.16, 0.1
STEP = 0.94  # between two sizes that are tried
TOLERANCE = 1e-6  # pixels; of floating point


@dataclass(frozen=True, slots=True)
class Voice:
    """How a text is set, whatever its size."""

    fonts: Fonts
    font: str
    language: str

    def shape(self, text: str) -> Line:
        return shape_line(text, self.language, self.font, self.fonts)

    def measure(self, text: str) -> float:
        """The width of its ink in em: lines are aligned by what is seen of them."""
        line = self.shape(text)
        return line.right - line.left


@dataclass(frozen=True, slots=True)
class Block:
    """Lines at one size; lengths are in pixels. The first baseline is `ascent` below the top."""

    lines: tuple[Line, ...]
    size: float
    width: float
    ascent: float
    pitch: float
    descent: float

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)

    @property
    def height(self) -> float:
        return self.ascent + self.pitch * (len(self.lines) - 1) + self.descent


def set_lines(lines: Sequence[str], size: float, voice: Voice) -> Block:
    """Raises MissingGlyphs."""
    shaped = tuple(voice.shape(line) for line in lines)
    reach = [
        below.top - above.bottom + CLEARANCE
        for above, below in zip(shaped, shaped[1:], strict=False)
    ]
    return Block(
        lines=shaped,
        size=size,
        width=size * max((voice.measure(line) for line in lines), default=0.0),
        ascent=size * max(CAPITALS, shaped[0].top if shaped else 0.0),
        pitch=size * max(PITCH, *reach, 0.0),
        descent=size * max(DESCENT, -shaped[-1].bottom if shaped else 0.0),
    )


@dataclass(frozen=True, slots=True)
class Room:
    """What a text may take up, in pixels; sizes from `largest` to `smallest` are tried;
    at the smallest one a text may be shortened, unless half of it would be wrong."""

    width: float
    height: float
    largest: float
    smallest: float
    max_lines: int = 1
    may_shorten: bool = True
    padding_x: float = 0.0
    padding_y: float = 0.0

    def inside(self, size: float) -> tuple[float, float]:
        """Width and height between the paddings, which are in em."""
        return self.width - 2 * self.padding_x * size, self.height - 2 * self.padding_y * size


def fit(text: str, room: Room, voice: Voice) -> Block | None:
    """The text at the largest size that has room for it, in balanced lines; at the smallest size
    it ends in an ellipsis, if it may. None where nothing fits. Raises MissingGlyphs."""
    size = room.largest
    while size >= room.smallest:
        width, height = room.inside(size)
        lines = break_lines(text, voice.language, width / size, voice.measure)
        if len(lines) <= room.max_lines and not cuts_words(lines, text, voice.language):
            lines = balance(text, voice.language, width / size, voice.measure)
            block = set_lines(lines, size, voice)
            if max(0.0, block.width - width, block.height - height) < TOLERANCE:
                return block
        size *= STEP
    width, height = room.inside(room.smallest)
    for num_lines in range(room.max_lines if room.may_shorten else 0, 0, -1):
        lines = shorten(text, voice.language, width / room.smallest, num_lines, voice.measure)
        block = set_lines(lines, room.smallest, voice)
        if lines and max(0.0, block.width - width, block.height - height) < TOLERANCE:
            return block
    return None
