"""What the shop tells, event by event: what is sound is kept, the rest is told why not."""

import math

import pytest

from features.keys import Keys
from server.errors import Unavailable
from server.experiments.events import EventKind, Exposure, Receipt
from server.experiments.exposures import sign
from server.experiments.recording import Recorder, ReportedEvent
from tests.server.experiments.shoppers import Notebook

NOW_S = 1_800_000_000.0
DAY_S = 86_400.0
KEYS = Keys((b"k" * 32,))
OTHER = Keys((b"o" * 32,))


class Closed:
    async def append(self, events):
        raise Unavailable("events can't be kept now", "EVENTS_UNAVAILABLE")


class Counter:
    def __init__(self):
        self.counts, self.rejections, self.lags_s = {}, {}, []

    def recorded(self, kind, experiment, arm, count):
        self.counts[kind, experiment, arm] = count

    def rejected(self, reason, count):
        self.rejections[reason] = count

    def event_lag(self, seconds):
        self.lags_s.append(seconds)


def token(keys=KEYS, minted_s=NOW_S - 60, **told):
    fields = {"experiment": "faces", "arm": "bold"} | told
    return sign(Exposure("e1", minted_s, "unit", "personalized", "mug", 7, **fields), keys)


def report(event_id="a", kind=EventKind.CLICK, token=None, time_s=None, value=None):
    return ReportedEvent(event_id, kind, SOUND if token is None else token, time_s, value)


SOUND = token()


def recorder(log=None, observer=None):
    return Recorder(
        log or Notebook(),
        KEYS,
        ["faces"],
        observer or Counter(),
        window_s=30 * DAY_S,
        clock=lambda: NOW_S,
    )


async def test_a_sound_event_is_kept_with_what_its_image_was():
    log, observer = Notebook(), Counter()
    told = report(time_s=NOW_S - 20, value=12.5, kind=EventKind.PURCHASE)
    recorded = await recorder(log, observer).record([told])
    assert (recorded.receipt, recorded.rejections) == (Receipt(1, 0), ())
    (event,) = log.events
    assert (event.event_id, event.kind, event.time_s, event.value) == (
        "a",
        EventKind.PURCHASE,
        NOW_S - 20,
        12.5,
    )
    assert (event.exposure.product_id, event.exposure.arm, event.exposure.unit) == (
        "mug",
        "bold",
        "unit",
    )
    assert observer.counts == {("purchase", "faces", "bold"): 1}
    assert observer.lags_s == [20.0]


WRONG = {
    "no id": (report(event_id=""), "EVENT_ID_MISSING"),
    "a long id": (report(event_id="x" * 129), "EVENT_ID_INVALID"),
    "control letters": (report(event_id="a\n"), "EVENT_ID_INVALID"),
    "no kind": (report(kind=None), "KIND_MISSING"),
    "the server's own kind": (report(kind=EventKind.REFUSAL), "KIND_MISSING"),
    "not a number": (report(value=math.nan), "VALUE_INVALID"),
    "infinite": (report(value=math.inf), "VALUE_INVALID"),
    "negative": (report(value=-1.0), "VALUE_INVALID"),
    "no token": (report(token=""), "TOKEN_MISSING"),
    "not a token": (report(token="nonsense!"), "TOKEN_FORGED"),
    "another server's": (report(token=token(OTHER)), "TOKEN_FORGED"),
    "a changed one": (report(token=SOUND[:-2] + "AA"), "TOKEN_FORGED"),
    "an old one": (report(token=token(minted_s=NOW_S - 31 * DAY_S)), "TOKEN_EXPIRED"),
    "one that is gone": (report(token=token(experiment="gone")), "UNKNOWN_EXPERIMENT"),
    "tomorrow": (report(time_s=NOW_S + DAY_S), "TIME_IN_FUTURE"),
    "before the image": (report(time_s=NOW_S - DAY_S), "TIME_BEFORE_EXPOSURE"),
}


@pytest.mark.parametrize(("told", "reason"), WRONG.values(), ids=WRONG)
async def test_an_unsound_event_is_rejected_and_the_rest_kept(told, reason):
    log, observer = Notebook(), Counter()
    recorded = await recorder(log, observer).record([report("first"), told, report("last")])
    (rejection,) = recorded.rejections
    assert (rejection.index, rejection.reason) == (1, reason)
    assert rejection.event_id == told.event_id[:128] and rejection.message
    assert [event.event_id for event in log.events] == ["first", "last"]
    assert observer.rejections == {reason: 1}


async def test_clocks_may_disagree_a_little_and_late_events_are_welcome():
    log = Notebook()
    late = report("late", token=token(minted_s=NOW_S - 29 * DAY_S), time_s=NOW_S - 29 * DAY_S)
    recorded = await recorder(log).record([report("soon", time_s=NOW_S + 30), late])
    assert recorded.rejections == ()
    assert [event.time_s for event in log.events] == [NOW_S, NOW_S - 29 * DAY_S]


async def test_without_a_value_or_a_time_there_are_the_usual_ones():
    log = Notebook()
    await recorder(log).record([report()])
    assert (log.events[0].value, log.events[0].time_s) == (1.0, NOW_S)


async def test_what_is_shown_outside_of_experiments_is_kept_as_well():
    log = Notebook()
    recorded = await recorder(log).record([report(token=token(experiment="", arm=""))])
    assert recorded.rejections == () and log.events[0].exposure.experiment == ""


async def test_a_log_that_does_not_answer_is_told_and_nothing_counted():
    observer = Counter()
    with pytest.raises(Unavailable):
        await recorder(Closed(), observer).record([report()])
    assert observer.counts == {}


async def test_thousands_are_looked_through_off_the_event_loop():
    log = Notebook()
    told = [report(f"e{n}") for n in range(3000)]
    assert (await recorder(log).record(told)).receipt.num_new == 3000
    assert [event.event_id for event in log.events] == [each.event_id for each in told]
