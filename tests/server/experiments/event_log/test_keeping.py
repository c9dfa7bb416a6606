"""Whatever order events come in, and however often: what is kept is what was told first."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.database import writing
from server.experiments.event_log.keeping import EXPOSURE, OUTCOME, keep
from server.experiments.event_log.tables import exposures, outcomes
from server.experiments.events import Event, EventKind, Exposure
from tests.server.experiments.event_log.happenings import (
    NOW_S,
    bare,
    clear,
    read_claims,
    read_rows,
)

_events = st.builds(
    Event,
    event_id=st.sampled_from("abcdefgh"),
    kind=st.sampled_from(EventKind),
    time_s=st.integers(-60, 60).map(lambda s: NOW_S + s),
    exposure=st.sampled_from("xyz").map(bare),
    value=st.floats(0, 100),
)
_batches = st.lists(st.lists(_events, max_size=6), max_size=6)


class Notes:
    """What should be kept, by the words of the promise."""

    def __init__(self) -> None:
        self.ids: set[str] = set()
        self.rendered: dict[str, Event] = {}
        self.told: list[Event] = []

    def keep(self, event: Event) -> bool:
        if event.event_id in self.ids:
            return False
        self.ids.add(event.event_id)
        if event.kind is not EventKind.RENDER:
            self.told.append(event)
            return True
        is_new = event.exposure.exposure_id not in self.rendered
        self.rendered.setdefault(event.exposure.exposure_id, event)
        return is_new


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=_batches)
def test_each_event_is_kept_once_in_whatever_order(engine, batches):
    clear(engine)
    notes = Notes()
    for events in batches:
        with writing(engine) as connection:
            new = keep(connection, events, NOW_S)
        assert new == {event.event_id for event in events if notes.keep(event)}
    found = [(r["event_id"], r["exposure_id"], r["time_s"]) for r in read_rows(engine, exposures)]
    told = [(e.event_id, x, e.time_s) for x, e in notes.rendered.items()]
    assert sorted(found) == sorted(told)
    names = ("event_id", "kind", "exposure_id", "time_s", "value")
    happened = [tuple(row[name] for name in names) for row in read_rows(engine, outcomes)]
    assert sorted(happened) == sorted(
        (e.event_id, e.kind.value, e.exposure.exposure_id, e.time_s, e.value) for e in notes.told
    )
    assert read_claims(engine) == notes.ids


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=_batches)
def test_what_breaks_off_leaves_nothing(engine, batches):
    clear(engine)
    for events in batches:
        with pytest.raises(ZeroDivisionError), writing(engine) as connection:
            keep(connection, events, NOW_S)
            raise ZeroDivisionError
    assert not read_claims(engine)
    assert not read_rows(engine, exposures) and not read_rows(engine, outcomes)


def test_tables_hold_all_that_an_exposure_is():
    names = [field.name for field in fields(Exposure)]
    assert EXPOSURE == ["event_id", "time_s", "received_s", *names]
    assert set(OUTCOME) < {*EXPOSURE, "kind", "value"}
