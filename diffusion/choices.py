"""What a scene leaves open of a look, and what a seed takes of that.

All of it is a function of one image's own wish, seed and shopper, so that an image can be made
again from its own seed alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from textwrap import shorten

from diffusion.briefs import Mention, Reading, read_brief
from diffusion.looks import AXES, SceneWish
from diffusion.scenery import SEASONS, SETTINGS

SCENE_AXES = ("palette", "setting")
SEASON_PALETTES = {
    "spring": ("mint", "rose", "lavender", "lemon"),  # young leaves and blossom
    "summer": ("sky", "lemon", "coral", "mint"),  # sea, sun, fruit, grass
    "autumn": ("sand", "coral", "lemon"),  # fallen leaves, wood
    "winter": ("sky", "graphite", "lavender"),  # ice, bare trees, early dusk
}
"""What the year itself wears: a season is to be seen in every setting, also in a studio."""

MOST_TOLD = 200
"""Letters of a brief that a warning repeats."""

Look = Mapping[str, str]
"""A choice for each axis on which one was made."""


def find_share(diversity: float) -> float:
    """Of seeds that go their own way. Two images are alike where neither does, so that this makes
    the share of pairs that are not alike grow as diversity does: 1 - (1 - share)² = diversity."""
    return float(1 - (1 - diversity) ** 0.5)


@dataclass(frozen=True, slots=True)
class Choices:
    """What is open on each axis that can be chosen, in the order of `AXES`; all of it where nothing
    was wished.

    `unread` are the words of the brief that nothing is known of; `overruled` those that the rest of
    the wish speaks against.
    """

    open: Mapping[str, tuple[str, ...]]
    unread: tuple[str, ...] = ()
    overruled: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """For whoever asks a model that reads nothing but this."""
        told = (
            ("the model does not read", self.unread),
            ("left out of the brief, since the scene says otherwise", self.overruled),
        )
        return tuple(
            f"{what}: {shorten(', '.join(words), MOST_TOLD, placeholder=' ...')}"
            for what, words in told
            if words
        )

    def is_narrowed(self, axis: str) -> bool:
        return len(self.open[axis]) < len(AXES[axis])

    def divert(self, seed: int, diversity: float) -> Look:
        """Where the seed leads away from what would be shown, on each axis to any of what is open
        as often. What is diverted at some diversity is diverted to the same at any larger one."""
        share = find_share(diversity)
        return {
            axis: self.draw(axis, seed)
            for axis in self.open
            if len(self.open[axis]) > 1 and _random(axis, seed, "share").random() < share
        }

    def draw(self, axis: str, seed: int) -> str:
        return _random(axis, seed, "choice").choice(self.open[axis])

    def choose(self, seed: int, diversity: float, taste: Taste | None = None) -> Look:
        """What is to be shown on each axis; nothing on one that is left to shopper and model.

        Where a scene leaves some of it open, nobody gets what the seed draws, and a shopper what
        they like best of it: one of both, since a mixture of two looks is often a third.
        """
        chosen = {**self.divert(seed, diversity)}
        for axis in self.open:
            if axis in chosen or not self.is_narrowed(axis):
                continue
            if taste is None or axis not in taste.ranked or not taste.counts(axis, seed):
                chosen[axis] = self.draw(axis, seed)
            elif not (taste.is_clear and taste.ranked[axis][0] in self.open[axis]):
                chosen[axis] = taste.find_best(axis, self.open[axis])
            elif len(self.open[axis]) == 1:
                chosen[axis] = self.open[axis][0]
        return chosen


@dataclass(frozen=True, slots=True)
class Taste:
    """A shopper's choices on each axis, best first. They count for a `share` of all seeds, which a
    strength grows with; one that `is_clear` is followed without being told."""

    ranked: Mapping[str, Sequence[str]]
    share: float = 1.0
    is_clear: bool = False

    def counts(self, axis: str, seed: int) -> bool:
        return _random(axis, seed, "taste").random() < self.share

    def find_best(self, axis: str, among: Sequence[str]) -> str:
        return next(choice for choice in self.ranked[axis] if choice in among)


def _random(*parts: object) -> Random:
    return Random("/".join(map(str, parts)))


@lru_cache(maxsize=1024)
def narrow(scene: SceneWish, *, has_treatments: bool = False) -> Choices:
    """What a scene leaves open: its enums win over its brief, and both over the season; of several
    words the most definite count. Treatments are chosen by the brief alone, where they can be.

    Raises ValueError naming the axis where nothing is left.
    """
    said = _read(scene)
    used: set[str] = set()
    seasons = [m.meaning["season"][0] for m in said.mentions if _is_wish(m, "season")]
    season = scene.season or next(iter(seasons), "")
    if season and season not in SEASONS:
        raise ValueError(f"no season {season!r}: choose one of {', '.join(SEASONS)}")
    used |= {m.words for m in said.mentions if m.meaning.get("season") == (season,)}
    axes = AXES if has_treatments else SCENE_AXES
    found = {axis: _narrow_axis(axis, scene, season, said.mentions, used) for axis in axes}
    unread, overruled = list(said.unread), []
    for mention in said.mentions:
        is_for_others = not has_treatments and set(mention.meaning) == {"treatment"}
        if is_for_others:
            unread.append(mention.words)
        elif mention.words not in used:
            overruled.append(mention.words)
    return Choices(found, tuple(unread), tuple(dict.fromkeys(overruled)))


def _read(scene: SceneWish) -> Reading:
    """The brief, and what must not be seen as if the brief said no to each word of it."""
    said, hidden = read_brief(scene.brief), read_brief(scene.avoided)
    never = tuple(Mention(m.words, m.meaning, True) for m in hidden.mentions)
    unread = dict.fromkeys((*said.unread, *hidden.unread))
    return Reading((*said.mentions, *never), tuple(unread))


def _is_wish(mention: Mention, kind: str) -> bool:
    return kind in mention.meaning and not mention.is_negated


def _narrow_axis(
    axis: str, scene: SceneWish, season: str, mentions: Sequence[Mention], used: set[str]
) -> tuple[str, ...]:
    """What is open on one axis; adds the words that say so, or agree, to `used`."""
    wished: str = getattr(scene, axis, "")
    avoided: frozenset[str] = getattr(scene, f"avoided_{axis}s", frozenset())
    for choice in ({wished} if wished else set()) | avoided:
        if choice not in AXES[axis]:
            raise ValueError(f"no {axis} {choice!r}: choose one of {', '.join(AXES[axis])}")
    if wished in avoided:
        raise ValueError(f"{axis}: {wished} is wished and avoided")
    told = [mention for mention in mentions if axis in mention.meaning]
    if wished:
        for mention in told:
            if (wished in mention.meaning[axis]) != mention.is_negated:
                used.add(mention.words)
        return (wished,)
    denied = [mention for mention in told if mention.is_negated]
    used |= {mention.words for mention in denied}
    avoided = avoided.union(*(mention.meaning[axis] for mention in denied))
    left = tuple(choice for choice in AXES[axis] if choice not in avoided)
    if not left:
        raise ValueError(f"no {axis} is left: all of them are avoided")
    wishes = [
        (mention.words, open_)
        for mention in told
        if not mention.is_negated
        if (open_ := tuple(c for c in left if c in mention.meaning[axis]))
    ]
    used |= {words for words, _ in wishes}
    if wishes:
        fewest = min(len(open_) for _, open_ in wishes)
        named = {choice for _, open_ in wishes if len(open_) == fewest for choice in open_}
        return tuple(choice for choice in left if choice in named)
    return tuple(c for c in left if _suits(axis, c, season)) or left


def _suits(axis: str, choice: str, season: str) -> bool:
    if not season or axis == "treatment":
        return True
    if axis == "palette":
        return choice in SEASON_PALETTES[season]
    return season in SETTINGS[choice].seasons
