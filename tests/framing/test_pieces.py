"""Pieces of bytes are whole again whatever they were, and few objects however small they were."""

from hypothesis import given
from hypothesis import strategies as st

from infscale.framing.pieces import Pieces


@given(st.lists(st.binary(max_size=40) | st.integers(0, 9_000).map(bytes), max_size=60))
def test_what_was_kept_comes_back_in_order(given_pieces: list[bytes]) -> None:
    kept = Pieces()
    for piece in given_pieces:
        kept.add(piece)
    whole = b"".join(given_pieces)
    assert kept.size_bytes == len(whole)
    assert kept.take() == whole
    assert kept.size_bytes == 0
    assert kept.take() == b""


def test_a_million_pieces_of_a_byte_are_few_objects() -> None:
    kept = Pieces()
    for _ in range(1_000_000):
        kept.add(b"x")
    assert len(kept._apart) < 50  # pyright: ignore[reportPrivateUsage]
    assert kept.take() == b"x" * 1_000_000


@given(st.lists(st.binary(max_size=40) | st.integers(0, 1 << 20).map(bytes), max_size=30))
def test_what_was_joined_in_steps_is_one_piece(given_pieces: list[bytes]) -> None:
    kept = Pieces()
    for piece in given_pieces:
        kept.add(piece)
    whole = b"".join(given_pieces)
    steps = sum(1 for _ in kept.join())
    assert steps <= len(whole) // (2 << 20)
    assert kept.size_bytes == len(whole)
    assert kept.apart() == ([whole] if whole else [])
    assert kept.take() == whole
