import re

from server.access.keys import Keyring, hash_key, make_key


def test_a_key_is_long_random_and_known_by_its_beginning():
    keys = {make_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(re.fullmatch(r"etalage_[\w-]{43}", key) for key in keys)


def test_the_hash_is_that_of_sha256():
    told = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_key("abc") == f"sha256:{told}"


def test_a_key_finds_its_owner_and_none_other_does():
    keys = [make_key() for _ in range(50)]
    ring = Keyring((hash_key(key), number) for number, key in enumerate(keys))
    assert [ring.find(key) for key in keys] == list(range(50))
    assert [ring.find(wrong) for wrong in ("", keys[0][:-1], keys[0] + "a", make_key())] == [
        None
    ] * 4
    assert ring.find(hash_key(keys[0])) is None
