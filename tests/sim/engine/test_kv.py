"""Blocks of KV cache: none is lost or made up, and what no request holds goes in its order."""

from hypothesis import given
from hypothesis import strategies as st

from infscale.sim.engine.kv import BlockPool, CachedBlock

BLOCKS = 8


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3), st.booleans()), max_size=30))
def test_blocks_are_free_private_or_cached_whatever_happens(steps: list[tuple[int, int, bool]]) -> None:
    """A sequence takes blocks, publishes a chain of them or does not, and the eldest gives its own back."""
    pool = BlockPool(BLOCKS)
    held: list[tuple[list[CachedBlock], int]] = []
    for count, chain, gives_back in steps:
        if pool.take(count):
            hashes = [10 * chain + place for place in range(count)] if chain else []
            held.append((pool.publish(hashes), count - len(hashes)))
        if gives_back and held:
            pool.release(*held.pop(0))
        assert pool.free + pool.private + pool.cached == BLOCKS
        assert pool.private == sum(private for _, private in held)
        assert 0.0 <= pool.usage_ratio <= 1.0
    for each in held:
        pool.release(*each)
    assert (pool.private, pool.available) == (0, BLOCKS)


def test_a_prefix_is_found_as_far_as_it_has_no_gap() -> None:
    pool = BlockPool(BLOCKS)
    assert pool.take(3)
    pool.publish([1, 2, 4])
    assert [[block.hash for block in pool.match([1, 2, 3, 4], limit)] for limit in (1, 4)] == [[1], [1, 2]]


def test_the_tail_of_a_prefix_goes_first_and_what_is_held_stays() -> None:
    pool = BlockPool(4)
    assert pool.take(4)
    blocks = pool.publish([1, 2, 3, 4])
    pool.release(blocks, 0)
    pool.hold(blocks[:1])
    assert not pool.take(4)
    assert pool.take(2)
    assert [len(pool.match([each], 1)) for each in (1, 2, 3, 4)] == [1, 1, 0, 0]
