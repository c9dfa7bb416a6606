"""Where a history is looked at: every sixth click, at every length, unmoved by later ones."""

from features.moments import HELD_OUT_SHARE, MAX_MOMENTS, PACE, choose_split, find_moments

USERS = [f"shopper-{number:05d}" for number in range(3000)]


def test_moments_are_every_sixth_click_and_of_a_long_history_the_last_ones():
    for user_id in USERS[:50]:
        moments = list(find_moments(user_id, 200))
        assert len(moments) == MAX_MOMENTS and 200 - PACE <= moments[-1] < 200
        assert {b - a for a, b in zip(moments, moments[1:], strict=False)} == {PACE}


def test_later_clicks_move_no_moment():
    for user_id in USERS[:50]:
        for count in (0, 1, 5, 6, 20, 40):
            before, after = find_moments(user_id, count), find_moments(user_id, count + 1)
            assert list(after)[: len(before)] == list(before)
            assert all(moment == count for moment in list(after)[len(before) :])


def test_histories_of_every_length_occur():
    assert {find_moments(user_id, 6)[0] for user_id in USERS[:100]} == set(range(PACE))


def test_nobody_without_clicks_has_a_moment():
    assert all(not find_moments(user_id, 0) for user_id in USERS[:20])


def test_a_tenth_of_the_shoppers_is_held_out_always_the_same():
    splits = [choose_split(user_id) for user_id in USERS]
    assert set(splits) == {"train", "held_out"}
    assert abs(splits.count("held_out") / len(USERS) - HELD_OUT_SHARE) < 0.02
    assert splits == [choose_split(user_id) for user_id in USERS]
    firsts = {find_moments(u, 6)[0] for u in USERS if choose_split(u) == "held_out"}
    assert firsts == set(range(PACE)), "who is held out says nothing of where they are looked at"
