"""The colours that a creative's surroundings may wear."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Palette:
    """Six colours of one family, from nearly white to nearly black, as #rrggbb."""

    name: str
    light: str  # highlights
    soft: str  # walls and skies by day
    main: str  # the colour that the palette is called by
    deep: str  # shade, far hills, wood
    night: str  # the darkest sky
    accent: str  # a few small props, never large areas


PALETTES: dict[str, Palette] = {
    palette.name: palette
    for palette in (
        Palette("sand", "#fbf5ea", "#ecdcc3", "#d3b58b", "#8a6a48", "#33261a", "#e2935c"),
        Palette("coral", "#fff1ea", "#ffc8b4", "#ff8262", "#bb452e", "#47160f", "#ffcf6b"),
        Palette("lemon", "#fffce8", "#fff0a6", "#ffd738", "#bd8b06", "#3a2d04", "#ff9d4d"),
        Palette("mint", "#effcf5", "#c2efda", "#66cfa5", "#1d7c5d", "#082e25", "#ffd98a"),
        Palette("sky", "#eef7ff", "#bfe0fc", "#58a7f0", "#1d5bab", "#091e46", "#ffd068"),
        Palette("lavender", "#f6f1ff", "#dacbfb", "#a383ec", "#5a3aa8", "#20114a", "#ffb8d0"),
        Palette("rose", "#fff0f5", "#fdc8da", "#f274a3", "#ab2c64", "#430d2a", "#ffe08f"),
        Palette("graphite", "#f2f3f5", "#bcc0c9", "#737986", "#383e4a", "#13161d", "#e0bb78"),
    )
}


def channels(colour: str) -> tuple[int, int, int]:
    """#rrggbb -> red, green, blue in 0..255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def mix(first: str, second: str, share: float) -> str:
    """`share` of the second colour in the first, as #rrggbb."""
    pairs = zip(channels(first), channels(second), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)
