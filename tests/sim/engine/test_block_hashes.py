"""One hash stands for all of a prompt up to a block's end."""

import random

from hypothesis import given
from hypothesis import strategies as st

from infscale.sim.engine.block_hashes import block_hashes


@given(st.binary(max_size=600), st.binary(max_size=300), st.sampled_from([4, 8, 64, 128]))
def test_hashes_of_a_beginning_are_the_beginning_of_the_hashes(text: bytes, more: bytes, block_bytes: int) -> None:
    hashes = block_hashes(text, block_bytes, "")
    assert len(hashes) == len(text) // block_bytes
    assert block_hashes(text + more, block_bytes, "")[: len(hashes)] == hashes


@given(st.binary(min_size=64, max_size=640), st.integers(0, 10**6), st.integers(1, 255), st.sampled_from([4, 64]))
def test_a_changed_byte_changes_its_block_and_all_after_it_and_none_before(
    text: bytes, place: int, change: int, block_bytes: int
) -> None:
    size = len(text) // block_bytes * block_bytes
    place %= size
    changed = text[:place] + bytes([text[place] ^ change]) + text[place + 1 :]
    before, after = block_hashes(text, block_bytes, ""), block_hashes(changed, block_bytes, "")
    first = place // block_bytes
    assert before[:first] == after[:first]
    assert all(one != other for one, other in zip(before[first:], after[first:], strict=True))


def test_two_changes_in_the_highest_bits_do_not_cancel() -> None:
    """A sum of words with weights alone would forget such changes, one in two."""
    rng = random.Random(1)
    text = bytearray(rng.randbytes(64))
    seen: set[int] = set()
    for one in range(16):
        for other in range(one):
            changed = bytearray(text)
            changed[4 * one + 3] ^= 0x80
            changed[4 * other + 3] ^= 0x80
            seen.add(block_hashes(bytes(changed), 64, "")[0])
    assert len(seen) == 16 * 15 // 2


def test_equal_blocks_in_other_places_have_other_hashes() -> None:
    hashes = block_hashes(b"same" * 16 * 500, 64, "")
    assert len(set(hashes)) == 500


def test_different_texts_have_different_hashes() -> None:
    rng = random.Random(2)
    texts = [rng.randbytes(128) for _ in range(20_000)]
    assert len({each for text in texts for each in block_hashes(text, 64, "")}) == 40_000


def test_nothing_is_shared_under_another_root() -> None:
    text = b"word" * 160
    assert not set(block_hashes(text, 64, "")) & set(block_hashes(text, 64, "lora-a"))
