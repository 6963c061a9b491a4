"""A token says where a session is to pickers with the same keys, and is worth nothing in any other case."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import ObjectKey
from picker.sessions.session_tokens import (
    ENDPOINT_BYTES,
    SESSION_BYTES,
    TOKEN_LENGTH,
    Token,
    TokenKeys,
    endpoint_mark,
)

POOL, OTHER_POOL = ObjectKey("ns", "chat"), ObjectKey("ns", "batch")
OLD, NEW, FOREIGN = (random.Random(seed).randbytes(32) for seed in range(3))
TOKEN = Token(endpoint_mark("ns/vllm-0"), b"12345678", 1_000, 2_000)
TOKENS = st.builds(
    Token,
    st.binary(min_size=ENDPOINT_BYTES, max_size=ENDPOINT_BYTES),
    st.binary(min_size=SESSION_BYTES, max_size=SESSION_BYTES),
    st.integers(0, 2**32 - 1),
    st.integers(1_500, 2**32 - 1),
)


@given(TOKENS)
def test_a_picker_with_the_same_keys_reads_what_another_wrote(token: Token) -> None:
    text = TokenKeys([NEW]).seal(POOL, token)
    assert len(text) == TOKEN_LENGTH
    assert text.replace("-", "").replace("_", "").isalnum()
    assert TokenKeys([NEW]).open(POOL, text, 1_500.0) == token


def test_keys_rotate_one_after_the_other() -> None:
    """A key is believed before it signs, and until what it signed is worth nothing any more."""
    written = TokenKeys([OLD]).seal(POOL, TOKEN)
    assert TokenKeys([OLD, NEW]).open(POOL, written, 1_500.0) == TOKEN
    after = TokenKeys([NEW, OLD])
    read = after.open(POOL, written, 1_500.0)
    assert isinstance(read, Token)
    assert read.old_key
    assert TokenKeys([OLD, NEW]).open(POOL, after.seal(POOL, TOKEN), 1_500.0) == Token(
        TOKEN.endpoint, TOKEN.session, 1_000, 2_000, old_key=True
    )
    assert TokenKeys([NEW]).open(POOL, written, 1_500.0) == "unknown_key"


def test_a_token_is_worth_nothing_elsewhere_later_or_with_other_keys() -> None:
    keys = TokenKeys([NEW])
    text = keys.seal(POOL, TOKEN)
    assert keys.open(OTHER_POOL, text, 1_500.0) == "forged"
    assert keys.open(POOL, text, 2_000.5) == "expired"
    assert TokenKeys([FOREIGN]).open(POOL, text, 1_500.0) == "unknown_key"


@given(st.integers(0, TOKEN_LENGTH - 1), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0189-_"))
def test_no_character_can_be_changed(place: int, character: str) -> None:
    keys = TokenKeys([NEW])
    text = keys.seal(POOL, TOKEN)
    changed = text[:place] + character + text[place + 1 :]
    if changed != text:
        assert isinstance(keys.open(POOL, changed, 1_500.0), str)


@given(st.one_of(st.text(max_size=100), st.text(min_size=TOKEN_LENGTH, max_size=TOKEN_LENGTH)))
def test_anything_may_be_sent(text: str) -> None:
    assert isinstance(TokenKeys([NEW]).open(POOL, text, 1_500.0), str)


def test_tokens_of_sessions_on_one_endpoint_have_nothing_in_common() -> None:
    """Nobody can tell that two sessions are on one endpoint, or that one has moved back."""
    keys = TokenKeys([NEW])
    texts = [keys.seal(POOL, Token(TOKEN.endpoint, bytes([number] * 8), 1_000, 2_000)) for number in range(50)]
    bodies = [text[6:] for text in texts]
    for place in range(len(bodies[0])):
        assert len({body[place] for body in bodies}) > 10
    assert "vllm" not in repr(keys)
    assert NEW.hex() not in repr(keys)


@pytest.mark.parametrize("at", [-5, 2**40])
def test_times_out_of_range_are_brought_into_it(at: int) -> None:
    keys = TokenKeys([NEW])
    read = keys.open(POOL, keys.seal(POOL, Token(TOKEN.endpoint, TOKEN.session, at, 2_000)), 1_500.0)
    assert isinstance(read, Token)
    assert read.placed_at == (0 if at < 0 else 2**32 - 1)


def test_there_is_at_least_one_key() -> None:
    with pytest.raises(ValueError, match="no key"):
        TokenKeys([])
