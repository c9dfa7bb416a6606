"""Who a shopper is to the log, and the keys for it."""

import multiprocessing
import re
import stat

import pytest

from features.keys import Keys, KeysUnusable, load_keys
from server.experiments.pseudonyms import Pseudonyms

KEY = b"a key of sixteen"


def test_a_pseudonym_is_short_and_safe_in_addresses_and_says_nothing_of_the_id():
    name = Pseudonyms(KEY).name("shopper-00135")
    assert re.fullmatch(r"[A-Za-z0-9_-]{22}", name) and "00135" not in name
    assert name == Pseudonyms(KEY).name("shopper-00135", "ignored session")
    # HMAC-SHA256 under a key derived by HMAC-SHA256, computed apart with openssl.
    assert name == "-VFWD8kvxbFO-JeD1dgrCw"


def test_another_shopper_session_or_key_has_another_pseudonym():
    own, other = Pseudonyms(KEY), Pseudonyms(b"another key of 16")
    names = [own.name("a"), own.name("b"), own.name("", "a"), own.name("", "b"), other.name("a")]
    assert len(set(names)) == len(names)
    assert own.name("Zoë 龍") != own.name("Zoe 龍")


def test_nobody_has_no_pseudonym():
    assert Pseudonyms(KEY).name("") == Pseudonyms(KEY).name("", "") == ""


def test_a_user_id_can_not_be_written_so_that_it_is_a_session():
    own = Pseudonyms(KEY)
    for crafted in ("session\0a", "\0a", "shopper\0a", "a\0"):
        assert own.name(crafted) not in {own.name("", "a"), own.name("a")}


def test_keys_are_made_once_for_their_owner_alone(tmp_path):
    path = tmp_path / "home" / "keys"
    keys = load_keys(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(keys.signing) == 32 and keys.all == (keys.signing,)
    assert load_keys(path) == keys and load_keys(tmp_path / "other") != keys
    assert [each.name for each in path.parent.iterdir()] == ["keys"]


def test_the_first_key_signs_all_verify_and_the_last_makes_pseudonyms(tmp_path):
    (tmp_path / "keys").write_text(f"{'ab' * 16}\n\n {'CD' * 16} \n")
    keys = load_keys(tmp_path / "keys")
    assert keys.signing == b"\xab" * 16 and keys.lasting == b"\xcd" * 16
    assert keys.all == (keys.signing, keys.lasting)


def test_a_key_is_never_shown():
    assert repr(Keys((KEY,))) == "Keys()"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "has no key"),
        ("\n\n", "has no key"),
        (f"{'ab' * 16}\nsecret words\n", "keys:2: is no hexadecimal number"),
        ("abcd\n", "keys:1: is shorter than 32 digits"),
        ("é" * 32, "can't be read"),
    ],
)
def test_a_file_of_keys_that_can_not_be_used_is_refused_and_not_shown(tmp_path, text, told):
    (tmp_path / "keys").write_text(text, "utf-8")
    with pytest.raises(KeysUnusable, match=told) as caught:
        load_keys(tmp_path / "keys")
    assert "secret" not in str(caught.value) and "abcd" not in str(caught.value)


def test_a_folder_or_a_place_that_can_not_be_written_is_refused(tmp_path):
    with pytest.raises(KeysUnusable, match="can't be read"):
        load_keys(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(KeysUnusable, match="can't be read or made"):
        load_keys(tmp_path / "file" / "keys")


def test_processes_that_start_at_once_agree_on_one_key(tmp_path):
    context = multiprocessing.get_context("spawn")
    with context.Pool(4) as pool:
        found = pool.map(load_keys, [tmp_path / "keys"] * 16, chunksize=1)
    assert len({keys.signing for keys in found}) == 1
