"""All revisions of models that are held, and every change of their states, logged and counted."""

from __future__ import annotations

from typing import Protocol

from server import logs
from server.errors import ModelNotFound
from server.revision import Revision, State

log = logs.logger(__name__)


class StateObserver(Protocol):
    def model_state(self, name: str, state: str, change: int) -> None:
        """So many more revisions of a name are in a state."""


class Ledger:
    """Belongs to one event loop."""

    def __init__(self, observer: StateObserver) -> None:
        self._observer = observer
        self._revisions: list[Revision] = []

    def of(self, name: str) -> list[Revision]:
        """Those of a name, the youngest first."""
        return [each for each in reversed(self._revisions) if each.name == name]

    def all(self) -> list[Revision]:
        """By name; of one name what serves, then the youngest first."""
        return sorted(
            reversed(self._revisions), key=lambda each: (each.name, each.state is not State.READY)
        )

    def find(self, name: str) -> Revision:
        """What serves, else the youngest. Raises ModelNotFound."""
        for revision in self.all():
            if revision.name == name:
                return revision
        raise ModelNotFound(name)

    def find_twin(self, revision: Revision) -> Revision | None:
        """Another one of the same content."""
        twins = (each for each in self.of(revision.name) if each is not revision)
        return next((each for each in twins if each.digest == revision.digest), None)

    def enter(self, revision: Revision) -> None:
        self._revisions.append(revision)
        self._count(revision, 1)
        self._tell(revision)

    def move(self, revision: Revision, state: State) -> None:
        self._count(revision, -1)
        revision.state = state
        self._count(revision, 1)
        self._tell(revision)

    def leave(self, revision: Revision) -> None:
        """It is not in memory any more."""
        self._revisions.remove(revision)
        self._count(revision, -1)
        revision.models = ()
        revision.is_gone.set()
        log.info("model", name=revision.name, revision=revision.digest, state="gone")

    def forget_failed(self, name: str) -> None:
        for each in self.of(name):
            if each.state is State.FAILED:
                self.leave(each)

    def _count(self, revision: Revision, change: int) -> None:
        self._observer.model_state(revision.name, revision.state.value, change)

    def _tell(self, revision: Revision) -> None:
        told = {"name": revision.name, "revision": revision.digest, "state": revision.state.value}
        if revision.path is not None:
            told["path"] = str(revision.path)
        log.info("model", **told)
