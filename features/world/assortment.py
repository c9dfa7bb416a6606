"""Which emoji the shop sells, and on which shelf they lie."""

# Whole emoji subgroups -> category of the catalogue.
_SHELVES = {
    "plant-flower": "flowers",
    "plant-other": "plants",
    "food-fruit": "fruit",
    "food-vegetable": "vegetables",
    "food-prepared": "meals",
    "food-asian": "asian-food",
    "food-sweet": "sweets",
    "drink": "drinks",
    "dishware": "kitchen",
    "transport-ground": "vehicles",
    "transport-water": "boats",
    "transport-air": "aircraft",
    "hotel": "travel",
    "time": "clocks",
    "event": "festive",
    "award-medal": "awards",
    "sport": "sports",
    "game": "games-and-toys",
    "arts-crafts": "crafts",
    "clothing": "clothing",
    "sound": "audio",
    "music": "audio",
    "musical-instrument": "instruments",
    "phone": "electronics",
    "computer": "electronics",
    "light-video": "cameras-and-lights",
    "book-paper": "books",
    "money": "money",
    "mail": "mail",
    "writing": "writing",
    "office": "office",
    "lock": "tools",
    "tool": "tools",
    "science": "science",
    "medical": "health",
    "household": "household",
    "other-object": "decoration",
}

# Single emoji of subgroups that otherwise hold no products.
_PICKED = {
    "fish": "seafood",
    "tropical fish": "seafood",
    "spiral shell": "seafood",
    "coral": "seafood",
    "crab": "seafood",
    "lobster": "seafood",
    "shrimp": "seafood",
    "squid": "seafood",
    "oyster": "seafood",
    "feather": "crafts",
    "globe showing Europe-Africa": "travel",
    "globe showing Americas": "travel",
    "globe showing Asia-Australia": "travel",
    "world map": "travel",
    "compass": "travel",
    "tent": "travel",
    "umbrella": "clothing",
    "closed umbrella": "clothing",
    "umbrella on ground": "travel",
    "thermometer": "health",
    "snowman": "decoration",
    "snowman without snow": "decoration",
    "brick": "tools",
    "rock": "decoration",
    "wood": "tools",
    "carousel horse": "games-and-toys",
    "barber pole": "decoration",
    "circus tent": "games-and-toys",
    "fountain": "decoration",
}

# Not things on sale in a family shop: signs, symbols, scenes, weapons, tobacco, people, funerals.
_UNSOLD = frozenset(
    """
    wilted flower|rosette|leaf fluttering in wind|empty nest|clinking beer mugs|clinking glasses
    pouring liquid|station|bus stop|motorway|railway track|police car light|stop sign|construction
    horizontal traffic light|vertical traffic light|oncoming bus|oncoming police car|oncoming taxi
    oncoming automobile|airplane departure|airplane arrival|suspension railway|mountain railway
    mountain cableway|aerial tramway|firecracker|fireworks|sparkles|moon viewing ceremony
    reminder ribbon|spade suit|heart suit|diamond suit|club suit|muted speaker|speaker low volume
    speaker medium volume|bell with slash|musical note|musical notes|mobile phone with arrow
    low battery|camera with flash|magnifying glass tilted right|page with curl|money with wings
    chart increasing with yen|chart increasing|chart decreasing|e-mail|incoming envelope
    envelope with arrow|closed mailbox with lowered flag|open mailbox with raised flag
    open mailbox with lowered flag|ballot box with ballot|locked with pen|dagger|crossed swords
    bomb|drop of blood|dna|syringe|cigarette|coffin|headstone|funeral urn|nazar amulet|placard
    hammer and pick|hammer and wrench|identification card|performing arts|water pistol|microbe
    hourglass not done|link
    """.replace("\n", "|")
    .replace("  ", "")
    .split("|")
)


def category_of(subgroup: str | None, label: str) -> str | None:
    """The shelf of an emoji (English label), or None where it is not for sale."""
    if label in _PICKED:
        return _PICKED[label]
    is_clock_face = "o’clock" in label or "-thirty" in label
    if label in _UNSOLD or is_clock_face or subgroup is None:
        return None
    return _SHELVES.get(subgroup)
