"""What a model is shown: next clicks, and features that know nothing of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diffusion.taste import NUM_RECENT, click_weight
from features.histories import SNAPSHOT_AGES_S, make_profiles, make_recents, to_times
from features.moments import PACE, choose_split, find_moments
from features.offline import write_part
from features.schema import TIMESTAMP, USER_PROFILE, USER_RECENT
from features.shoppers import ACTIONS, DAY_S, Clicks, Population, draw_tastes
from features.training_set import build_training_set, list_moments, main
from features.vector import FingerprintMismatch, fingerprint
from tests.features.stores import DIGEST, WIDTH, SmallEncoders, make_store

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
DAY = timedelta(days=1)
USERS = ["anna", "bert", "carl", "dora"]  # carl does not consent, dora never clicked
COUNTS = [40, 9, 20, 0]
NUM_CREATIVES = 30
EMBEDDINGS = np.random.default_rng(8).standard_normal((NUM_CREATIVES, WIDTH)).astype(np.float32)


def draw_clicks(seed=0):
    rng = np.random.default_rng(seed)
    total = sum(COUNTS)
    starts = np.concatenate([[0], np.cumsum(COUNTS)])
    # Twice a day: a row of last clicks lives for one.
    ages = [np.arange(count, 0, -1) * 0.5 * DAY_S for count in COUNTS]
    return Clicks(
        shopper=np.repeat(np.arange(len(USERS)), COUNTS),
        creative=rng.integers(NUM_CREATIVES, size=total),
        position=np.zeros(total, np.int64),
        action=rng.integers(len(ACTIONS), size=total),
        age_s=np.concatenate(ages) + rng.uniform(0, 3600, total).round(),
        starts=starts,
    )


def make_population(clicks):
    return Population(
        ids=USERS,
        age_bands=["25-34"] * 4,
        genders=[""] * 4,
        locales=["de"] * 4,
        interests=[[]] * 4,
        consents=np.array([True, True, False, True]),
        tastes=draw_tastes(4, 3, np.random.default_rng(0)),
        clicks=clicks,
    )


def write_shop(home, clicks):
    """A store and a warehouse of what these clicks leave behind."""
    store = make_store(home)
    profiles = make_profiles(make_population(clicks), EMBEDDINGS, NOW)
    recents = make_recents(clicks, USERS, EMBEDDINGS, NOW)
    for view, table in ((USER_PROFILE, profiles), (USER_RECENT, recents)):
        write_part(store.config.offline_folder(view), "simulated", table)
    write_part(home / "world", "clicks", tell_clicks(clicks))
    names = [f"creative-{number}" for number in range(NUM_CREATIVES)]
    told = dict.fromkeys(("creative_id", "product_id", "palette", "setting", "treatment"), names)
    numbers = {"seed": list(range(NUM_CREATIVES)), "embedding": EMBEDDINGS.tolist()}
    creatives = pa.table({**told, **numbers})
    printed = {"fingerprint": fingerprint(WIDTH, DIGEST)}
    write_part(home / "world", "creatives", creatives.replace_schema_metadata(printed))
    return store


def tell_clicks(clicks):
    columns = {
        "user_id": np.array(USERS)[clicks.shopper],
        "creative_id": [f"creative-{number}" for number in clicks.creative],
        "action": np.array(ACTIONS)[clicks.action],
        TIMESTAMP: to_times(NOW, clicks.age_s),
    }
    return pa.table(columns)


def build(home, clicks, **options):
    out = home / "moments.parquet"
    store = write_shop(home, clicks)
    made = build_training_set(store, SmallEncoders(), out, progress=False, **options)
    return made, pq.read_table(out)


def by_moment(table):
    return {(row["user_id"], row[TIMESTAMP]): row for row in table.to_pylist()}


@pytest.fixture(scope="module")
def clicks():
    return draw_clicks()


@pytest.fixture(scope="module")
def built(tmp_path_factory, clicks):
    return build(tmp_path_factory.mktemp("home"), clicks)


def time_of(clicks, event):
    return NOW - timedelta(seconds=float(clicks.age_s[event]))


def test_each_moment_tells_what_was_clicked_from_then_until_the_next(built, clicks):
    made, table = built
    rows = by_moment(table)
    expected = {}
    for user, shopper in (("anna", 0), ("bert", 1)):
        mine = clicks.of(shopper)
        for moment in find_moments(user, COUNTS[shopper]):
            first = mine.start + moment
            expected[user, time_of(clicks, first)] = range(first, min(first + PACE, mine.stop))
    assert rows.keys() == expected.keys() and made.num_moments == len(expected)
    for key, events in expected.items():
        assert rows[key]["clicked"] == [f"creative-{clicks.creative[event]}" for event in events]
        weights = [click_weight(ACTIONS[clicks.action[event]], 0) for event in events]
        assert rows[key]["clicked_weights"] == weights
        assert rows[key]["split"] == choose_split(key[0])


def test_features_are_those_of_the_last_rows_before_the_moment(built, clicks):
    _, table = built
    profiles = by_moment(make_profiles(make_population(clicks), EMBEDDINGS, NOW))
    recents = by_moment(make_recents(clicks, USERS, EMBEDDINGS, NOW))
    for (user, time), row in by_moment(table).items():
        known = [t for u, t in profiles if u == user and t < time and time - t < 30 * DAY]
        assert row["profile"] == profiles[user, max(known)]["embedding"]
        seen = [t for u, t in recents if u == user and t < time and time - t < DAY]
        last = recents[user, max(seen)] if seen else None
        assert row["recent"] == (last and last["recent_embeddings"])
        assert row["recent_weights"] == (last and last["recent_weights"])


def test_the_first_moments_of_a_shopper_have_no_features_and_later_ones_do(built):
    made, table = built
    anna = sorted(
        (row for row in table.to_pylist() if row["user_id"] == "anna"),
        key=lambda row: row[TIMESTAMP],
    )
    assert anna[0]["profile"] is None and anna[-1]["profile"] is not None
    assert len(anna[-1]["profile"]) == WIDTH
    assert len(anna[-1]["recent"]) == NUM_RECENT * WIDTH
    assert len(anna[-1]["recent_weights"]) == NUM_RECENT
    assert 0 < made.num_with_profile < made.num_moments
    assert made.num_with_recent == len(table) - table["recent"].null_count > 0


def test_who_does_not_consent_and_who_never_clicked_is_not_in_it(built):
    _, table = built
    assert set(table["user_id"].to_pylist()) == {"anna", "bert"}


def change_from(clicks, event, rng):
    """All that happened to everyone from that event's time on happened otherwise."""
    later = clicks.age_s <= clicks.age_s[event]
    creative, action = clicks.creative.copy(), clicks.action.copy()
    creative[later] = rng.integers(NUM_CREATIVES, size=later.sum())
    action[later] = rng.integers(len(ACTIONS), size=later.sum())
    return replace(clicks, creative=creative, action=action)


def insert_after(clicks, event):
    """Someone clicks once more, right after that event."""
    at, shopper = event + 1, clicks.shopper[event]
    starts = clicks.starts.copy()
    starts[shopper + 1 :] += 1
    return Clicks(
        shopper=np.insert(clicks.shopper, at, shopper),
        creative=np.insert(clicks.creative, at, 5),
        position=np.insert(clicks.position, at, 0),
        action=np.insert(clicks.action, at, 3),
        age_s=np.insert(clicks.age_s, at, clicks.age_s[event] - 60),
        starts=starts,
    )


FEATURES = ("profile", "recent", "recent_weights")


@pytest.mark.parametrize("way", ["changed", "inserted"])
def test_a_click_after_the_event_never_reaches_its_features(tmp_path, built, clicks, way):
    moment = list(find_moments("anna", COUNTS[0]))[4]
    event = clicks.of(0).start + moment
    if way == "changed":
        other = change_from(clicks, event, np.random.default_rng(1))
    else:
        other = insert_after(clicks, event)
    before, after = by_moment(built[1]), by_moment(build(tmp_path, other)[1])
    time = time_of(clicks, event)
    up_to_then = [key for key in before if key[1] <= time]
    assert ("anna", time) in up_to_then and len(up_to_then) >= 5
    for key in up_to_then:
        assert {name: before[key][name] for name in FEATURES} == {
            name: after[key][name] for name in FEATURES
        }, "to the last bit"
    assert before["anna", time]["recent"] and before["anna", time]["profile"]
    assert before["anna", time]["clicked"] != after["anna", time]["clicked"]
    later = [[row for key, row in rows.items() if key[1] > time] for rows in (before, after)]
    assert later[0] != later[1]


def test_a_click_before_the_event_does(tmp_path, built, clicks):
    event = clicks.of(0).start + list(find_moments("anna", COUNTS[0]))[4]
    creative = clicks.creative.copy()
    creative[event - 1] = (creative[event - 1] + 1) % NUM_CREATIVES
    creative[event - 20] = (creative[event - 20] + 1) % NUM_CREATIVES
    key = ("anna", time_of(clicks, event))
    before = by_moment(built[1])[key]
    after = by_moment(build(tmp_path, replace(clicks, creative=creative))[1])[key]
    assert before["recent"] != after["recent"] and before["profile"] != after["profile"]


def test_snapshots_after_the_event_never_reach_its_features(tmp_path, built, clicks):
    store = write_shop(tmp_path, clicks)
    event = clicks.of(0).start + list(find_moments("anna", COUNTS[0]))[4]
    time = time_of(clicks, event)
    for view, told in ((USER_PROFILE, {"consent": True}), (USER_RECENT, {})):
        numbers = {name: [9.0] * view.length(name, WIDTH) for name in view.vectors}
        row = {view.key: "anna", TIMESTAMP: time} | numbers | told
        columns = {name: [row.get(name)] for name in view.arrow.names}
        later = pa.table(columns, schema=view.arrow)
        write_part(store.config.offline_folder(view), "later", later)
    out = tmp_path / "moments.parquet"
    build_training_set(store, SmallEncoders(), out, progress=False)
    before, after = by_moment(built[1]), by_moment(pq.read_table(out))
    assert before["anna", time] == after["anna", time]
    following = min(key for key in before if key[0] == "anna" and key[1] > time)
    assert set(after[following]["profile"]) == {9.0}


def test_chunks_bound_memory_and_change_nothing(tmp_path, built, clicks):
    _, table = build(tmp_path, clicks, chunk_rows=3)
    assert by_moment(table) == by_moment(built[1])


def test_the_file_says_with_what_it_was_made_and_creatives_lie_beside_it(tmp_path, clicks):
    _, table = build(tmp_path, clicks)
    told = table.schema.metadata
    assert told[b"fingerprint"].decode() == fingerprint(WIDTH, DIGEST)
    assert (told[b"encoder_digest"], told[b"width"]) == (DIGEST.encode(), str(WIDTH).encode())
    creatives = pq.read_table(tmp_path / "creatives.parquet").to_pydict()
    assert creatives["creative_id"][3] == "creative-3"
    assert np.array_equal(np.array(creatives["embedding"], np.float32), EMBEDDINGS)
    hidden = {"consent", "age_band", "gender", "interests"}
    assert not hidden & set(table.schema.names)
    assert not list(tmp_path.glob(".*"))


def test_other_encoders_are_refused_with_both_prints_shown(tmp_path, clicks):
    store = write_shop(tmp_path, clicks)
    encoders = SmallEncoders()
    encoders.digest = "f" * 16
    prints = f"{fingerprint(WIDTH, DIGEST)}.*{fingerprint(WIDTH, 'f' * 16)}"
    with pytest.raises(FingerprintMismatch, match=prints):
        build_training_set(store, encoders, tmp_path / "out.parquet", progress=False)
    assert not (tmp_path / "out.parquet").exists()


def test_creatives_of_other_encoders_are_refused_too(tmp_path, clicks):
    store = write_shop(tmp_path, clicks)
    path = tmp_path / "world" / "creatives.parquet"
    table = pq.read_table(path).replace_schema_metadata({"fingerprint": "an older one"})
    write_part(path.parent, path.stem, table)
    with pytest.raises(FingerprintMismatch, match="an older one"):
        build_training_set(store, SmallEncoders(), tmp_path / "out.parquet", progress=False)


def test_an_interrupted_run_leaves_an_older_file_as_it_was(tmp_path, clicks, monkeypatch):
    build(tmp_path, clicks)
    before = (tmp_path / "moments.parquet").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr("features.training_set._count", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build(tmp_path, draw_clicks(seed=1))
    assert (tmp_path / "moments.parquet").read_bytes() == before


def test_clicks_come_in_any_order(clicks):
    table = tell_clicks(clicks)
    turned = table.take(pa.array(np.random.default_rng(0).permutation(len(table))))
    assert list_moments(turned).equals(list_moments(table))


def test_no_clicks_are_no_moments(clicks):
    assert len(list_moments(tell_clicks(clicks).slice(0, 0))) == 0


def test_the_command_says_why_there_is_no_training_set(tmp_path, capsys):
    assert main(["--home", str(tmp_path / "home"), "--out", str(tmp_path / "out.parquet")]) == 1
    assert "no feature service" in capsys.readouterr().err


def test_profiles_are_never_older_than_their_lifetime_at_any_moment_of_a_history():
    ages_d = np.array(SNAPSHOT_AGES_S) / DAY_S
    assert ages_d.max() > 90 and ages_d.min() == 0
    assert np.diff(-ages_d).max() < 30
