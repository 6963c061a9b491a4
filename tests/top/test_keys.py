"""Bytes of terminals become keys, however they are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.top.keys import keys_of


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (b"jk", ["j", "k"]),
        (b"\x1b[A\x1b[B", ["up", "down"]),
        (b"\x1bOA", ["up"]),
        (b"\x1b[5~\x1b[6~", ["page up", "page down"]),
        (b"\x1b[H\x1b[F\x1b[1~\x1b[4~", ["home", "end", "home", "end"]),
        (b"\r\n\x7f\x08", ["enter", "enter", "backspace", "backspace"]),
        ("ä模".encode(), ["ä", "模"]),
        (b"\x01\x00q", ["q"]),
        (b"\x1b[15;2~q", ["q"]),
        (b"\x1bq", ["escape", "q"]),
        (b"\xffq", ["q"]),
    ],
)
def test_keys_are_known(typed: bytes, expected: list[str]) -> None:
    assert keys_of(typed) == (expected, b"")


@pytest.mark.parametrize("typed", [b"\x1b", b"\x1b[", b"\x1b[1", "模".encode()[:2]])
def test_a_key_that_is_not_whole_is_waited_for(typed: bytes) -> None:
    assert keys_of(typed) == ([], typed)


def test_an_escape_alone_is_a_key_after_a_while() -> None:
    assert keys_of(b"\x1b", waited=True) == (["escape"], b"")


@given(st.binary(max_size=40))
def test_everything_is_taken_in_the_end(typed: bytes) -> None:
    _, rest = keys_of(typed)
    assert typed.endswith(rest)
    assert keys_of(rest, waited=True)[1] == b""


@given(st.lists(st.sampled_from([b"\x1b[A", b"j", b"\r", b"\x1b[6~", "ä".encode()]), max_size=8), st.integers(0, 20))
def test_where_bytes_are_cut_makes_no_difference(parts: list[bytes], place: int) -> None:
    typed = b"".join(parts)
    keys, rest = keys_of(typed[:place])
    more, left = keys_of(rest + typed[place:])
    assert (keys + more, left) == keys_of(typed)
