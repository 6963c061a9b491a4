"""What is worked out once and kept beside its value."""

from infscale.memo import Memo, MemoKey


def test_an_entry_is_found_under_its_own_key_only() -> None:
    """Keys of one name are two keys: parts that do not know each other cannot take each other's entries."""
    memo = Memo()
    own, other = MemoKey[int]("number"), MemoKey[int]("number")
    assert memo.keep(own, 7) == 7
    assert memo.get(own) == 7
    assert memo.get(other) is None


def test_a_later_entry_takes_the_place_of_an_earlier_one() -> None:
    memo, key = Memo(), MemoKey[str]("text")
    memo.keep(key, "earlier")
    memo.keep(key, "later")
    assert memo.get(key) == "later"
