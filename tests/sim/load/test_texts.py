"""A key is a text: the same one each time, another for every other key."""

import random

from hypothesis import given
from hypothesis import strategies as st

from infscale.sim.load.texts import BYTES_PER_TOKEN, Texts

TEXTS = Texts(random.Random(1))
keys = st.integers(0, 2**60 - 1)


@given(keys, st.integers(0, 150_000))
def test_text_has_four_ascii_bytes_per_token(key: int, tokens: int) -> None:
    text = TEXTS.text(key, tokens)
    assert text.isascii()
    assert text.decode().isprintable()
    assert len(text) == tokens * BYTES_PER_TOKEN


@given(keys, st.integers(0, 2000), st.integers(0, 2000))
def test_a_shorter_text_is_the_beginning_of_a_longer_one(key: int, one: int, other: int) -> None:
    short, long = sorted((one, other))
    assert TEXTS.text(key, long).startswith(TEXTS.text(key, short))


@given(keys, keys)
def test_different_keys_differ_at_the_beginning(one: int, other: int) -> None:
    assert (TEXTS.text(one, 4) == TEXTS.text(other, 4)) == (one == other)


def test_one_seed_gives_one_text() -> None:
    assert Texts(random.Random(1)).text(5, 300) == TEXTS.text(5, 300)
    assert Texts(random.Random(2)).text(5, 4) != TEXTS.text(5, 4)
