"""The prefix index against a plain model of it, and what it promises about endpoints that come and go."""

import random
from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.endpoint import Endpoint
from picker.prefix_index import PrefixIndex, PrefixSettings, block_ends
from tests.fakes.pools import endpoint

BLOCK = 256


def pool(*rows: int) -> tuple[Endpoint, ...]:
    return tuple(endpoint(row) for row in rows)


def index(rows: int = 3, capacity: int = 31_250) -> PrefixIndex:
    made = PrefixIndex(PrefixSettings(capacity_blocks=capacity))
    made.sync(pool(*range(rows)), (None,) * rows, (None,) * rows)
    return made


def matched(each: PrefixIndex, prompt: bytes, seed: str = "m") -> list[float]:
    return each.match(each.chain(seed, prompt)).tolist()


def record(each: PrefixIndex, prompt: bytes, row: int, seed: str = "m") -> None:
    each.record(each.chain(seed, prompt), row)


def blocks(names: str) -> bytes:
    return b"".join(name.encode() * BLOCK for name in names)


def test_the_longest_contiguous_prefix_of_whole_blocks_matches() -> None:
    each = index()
    record(each, blocks("abcd"), 0)
    record(each, blocks("abx"), 1)
    assert matched(each, blocks("abcd") + b"tail") == [4 * BLOCK, 2 * BLOCK, 0]
    assert matched(each, blocks("abc")[:-1]) == [2 * BLOCK, 2 * BLOCK, 0]
    assert matched(each, blocks("bcd")) == [0, 0, 0]
    assert matched(each, b"short") == [0, 0, 0]


def test_another_seed_shares_nothing() -> None:
    each = index()
    record(each, blocks("ab"), 0, seed="model-a")
    assert matched(each, blocks("ab"), seed="model-b") == [0, 0, 0]


def test_blocks_depend_on_the_offset_alone_and_grow_slowly() -> None:
    ends = block_ends(BLOCK, 512 * 1024)
    assert ends[:3] == (256, 512, 768)
    assert ends[-1] <= 512 * 1024
    assert len(ends) < 250
    sizes = [end - start for start, end in zip((0, *ends[:-1]), ends, strict=True)]
    assert all(size <= max(BLOCK, start / 16) for start, size in zip((0, *ends[:-1]), sizes, strict=True))


def test_the_least_recently_used_prompt_is_forgotten_first_and_from_its_end() -> None:
    each = index(capacity=4)
    record(each, blocks("ab"), 0)
    record(each, blocks("cd"), 0)
    record(each, blocks("ab"), 0)
    record(each, blocks("e"), 0)
    assert matched(each, blocks("ab"))[0] == 2 * BLOCK
    assert matched(each, blocks("cd"))[0] == BLOCK
    assert each.held_blocks(0) == 4


def test_capacity_is_per_endpoint_and_counted_in_smallest_blocks() -> None:
    each = index(capacity=100)
    prompt = random.Random(1).randbytes(64 * 1024)
    record(each, prompt, 0)
    record(each, prompt, 1)
    assert 90 <= each.held_blocks(0) <= 100
    assert matched(each, prompt)[0] == matched(each, prompt)[1] == each.held_blocks(0) * BLOCK


def test_what_the_engines_publish_sets_block_size_and_capacity() -> None:
    each = PrefixIndex()
    each.sync(pool(0, 1), (128, 16), (10, 80))
    assert each.block_tokens == 128
    record(each, blocks("ab" * 40), 0)
    record(each, blocks("ab" * 40), 1)
    assert (each.held_blocks(0), each.held_blocks(1)) == (10, 10)


def test_a_changed_block_size_forgets_everything() -> None:
    each = index(1)
    record(each, blocks("abcd"), 0)
    each.sync(pool(0), (128,), (None,))
    assert matched(each, blocks("abcd")) == [0]
    assert len(each) == 0


def test_without_tuning_the_configuration_decides() -> None:
    each = PrefixIndex(PrefixSettings(auto_tune=False, block_size_tokens=16, capacity_blocks=7))
    each.sync(pool(0), (128,), (1000,))
    record(each, blocks("abcdefghij"), 0)
    assert each.block_tokens == 64
    assert each.held_blocks(0) == 7


def test_an_endpoint_that_leaves_vanishes_and_its_place_starts_empty() -> None:
    each = index(2)
    record(each, blocks("ab"), 0)
    record(each, blocks("a"), 1)
    each.sync(pool(1), (None,), (None,))
    assert matched(each, blocks("ab")) == [BLOCK]
    each.sync(pool(1, 0), (None, None), (None, None))
    assert matched(each, blocks("ab")) == [BLOCK, 0]


def test_the_same_name_at_another_address_is_another_endpoint() -> None:
    each = index(1)
    record(each, blocks("a"), 0)
    each.sync((endpoint(0, port=9000),), (None,), (None,))
    assert matched(each, blocks("a")) == [0]


def test_what_gone_endpoints_held_is_cleared_while_others_are_recorded() -> None:
    each = index(2)
    for number in range(50):
        record(each, random.Random(number).randbytes(8192), 0)
    each.sync(pool(1), (None,), (None,))
    assert len(each) == 50 * 32
    for _ in range(20):
        record(each, blocks("a"), 0)
    assert len(each) == 1


def test_only_so_much_of_a_prompt_is_looked_at() -> None:
    each = PrefixIndex(PrefixSettings(max_blocks=4))
    each.sync(pool(0), (None,), (None,))
    chain = each.chain("m", blocks("abcdefgh"))
    assert chain.matchable_bytes == 4 * BLOCK
    with pytest.raises(ValueError, match="positive"):
        PrefixSettings(max_blocks=0)


class NaiveIndex:
    """Every prefix of every prompt as bytes, per endpoint in least recently used order."""

    def __init__(self, rows: int, capacity: int) -> None:
        self.held: list[OrderedDict[bytes, None]] = [OrderedDict() for _ in range(rows)]
        self.capacity = capacity

    def record(self, prompt: bytes, row: int) -> None:
        held = self.held[row]
        for end in range(len(prompt) // BLOCK * BLOCK, 0, -BLOCK):
            held[prompt[:end]] = None
            held.move_to_end(prompt[:end])
        while len(held) > self.capacity:
            held.popitem(last=False)

    def matched(self, prompt: bytes, row: int) -> int:
        end = 0
        while end + BLOCK <= len(prompt) and prompt[: end + BLOCK] in self.held[row]:
            end += BLOCK
        return end


_prompts = st.text("ab", min_size=0, max_size=10)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(_prompts, st.integers(0, 19)), max_size=40), st.integers(1, 12))
def test_it_agrees_with_a_plain_model(steps: list[tuple[str, int]], capacity: int) -> None:
    rows = 20
    each, naive = index(rows, capacity), NaiveIndex(rows, capacity)
    for names, row in steps:
        prompt = blocks(names)
        assert matched(each, prompt) == [naive.matched(prompt, other) for other in range(rows)]
        record(each, prompt, row)
        naive.record(prompt, row)
        assert each.held_blocks(row) == len(naive.held[row])
    assert len(each) == len({prefix for held in naive.held for prefix in held})


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.frozensets(st.integers(0, 5)), st.tuples(_prompts, st.integers(0, 5))), max_size=30))
def test_endpoints_come_and_go_and_only_present_ones_match(steps: list[frozenset[int] | tuple[str, int]]) -> None:
    each = PrefixIndex(PrefixSettings(capacity_blocks=8))
    naive: dict[int, NaiveIndex] = {}
    present: list[int] = []
    for step in steps:
        if isinstance(step, frozenset):
            present = sorted(step)
            each.sync(pool(*present), (None,) * len(present), (None,) * len(present))
            naive = {name: naive.get(name) or NaiveIndex(1, 8) for name in present}
            continue
        prompt = blocks(step[0])
        assert matched(each, prompt) == [naive[name].matched(prompt, 0) for name in present]
        if step[1] in present:
            record(each, prompt, present.index(step[1]))
            naive[step[1]].record(prompt, 0)
