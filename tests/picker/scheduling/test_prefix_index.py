"""The prefix index against a plain model of it, and what it promises about endpoints that come and go."""

# pyright: reportPrivateUsage=false
import random
import tracemalloc
from collections import OrderedDict
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.endpoint import Endpoint
from picker.scheduling.prefix_index import ENTRY_BYTES, PrefixIndex, PrefixSettings, block_ends
from tests.fakes.pools import endpoint

BLOCK = 256


def pool(*rows: int) -> tuple[Endpoint, ...]:
    return tuple(endpoint(row) for row in rows)


LIFE = object()


def follow(
    each: PrefixIndex,
    endpoints: tuple[Endpoint, ...],
    block_sizes: Sequence[int | None] = (),
    num_blocks: Sequence[int | None] = (),
    lives: Sequence[object] = (),
) -> None:
    rows = len(endpoints)
    each.sync(endpoints, block_sizes or [None] * rows, num_blocks or [None] * rows, lives or [LIFE] * rows)


def index(rows: int = 3, capacity: int = 31_250) -> PrefixIndex:
    made = PrefixIndex(PrefixSettings(capacity_blocks=capacity))
    follow(made, pool(*range(rows)))
    return made


def matched(each: PrefixIndex, prompt: bytes, seed: str = "m") -> list[float]:
    return each.match(each.chains(seed, prompt)).tolist()


def record(each: PrefixIndex, prompt: bytes, row: int, seed: str = "m") -> None:
    each.record(each.chains(seed, prompt), row)


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
    assert each._rows[0].size == 4


def test_capacity_is_per_endpoint_and_counted_in_smallest_blocks() -> None:
    each = index(capacity=100)
    prompt = random.Random(1).randbytes(64 * 1024)
    record(each, prompt, 0)
    record(each, prompt, 1)
    assert 90 <= each._rows[0].size <= 100
    assert matched(each, prompt)[0] == matched(each, prompt)[1] == each._rows[0].size * BLOCK


def test_what_the_engines_publish_sets_block_size_and_capacity() -> None:
    each = PrefixIndex()
    follow(each, pool(0, 1), (128, 16), (10, 80))
    assert (each._rows[0].grid, each._rows[1].grid) == (128, 64)
    record(each, blocks("ab" * 40), 0)
    record(each, blocks("ab" * 40), 1)
    assert (each._rows[0].size, each._rows[1].size) == (10, 20)


@pytest.mark.parametrize(
    ("published", "used"),
    [(1, 64), (16, 64), (64, 64), (65, 96), (128, 128), (528, 768), (4096, 4096), (10**30, 4096)],
)
def test_blocks_are_of_few_sizes_whatever_engines_publish(published: int, used: int) -> None:
    each = PrefixIndex()
    follow(each, pool(0), (published,))
    assert each._rows[0].grid == used


def test_a_changed_block_size_forgets_what_that_endpoint_has_alone() -> None:
    each = index(3)
    for row in range(3):
        record(each, blocks("abcd"), row)
    follow(each, pool(0, 1, 2), (None, 128, None))
    assert matched(each, blocks("abcd")) == [4 * BLOCK, 0, 4 * BLOCK]
    record(each, blocks("abcd"), 1)
    assert matched(each, blocks("abcd")) == [4 * BLOCK] * 3
    assert matched(each, blocks("abc")) == [3 * BLOCK, 2 * BLOCK, 3 * BLOCK]


def test_a_size_that_is_not_published_any_more_stays_as_it_was() -> None:
    each = PrefixIndex()
    follow(each, pool(0), (128,), (10,))
    record(each, blocks("ab" * 40), 0)
    follow(each, pool(0), (None,), (None,))
    assert (each._rows[0].grid, each._rows[0].size) == (128, 10)
    record(each, blocks("cd" * 40), 0)
    assert each._rows[0].size == 10


def test_an_engine_that_began_anew_holds_nothing_and_others_keep_what_they_have() -> None:
    each, lives = index(2), [LIFE, LIFE]
    for row in range(2):
        record(each, blocks("abcd"), row)
    lives[0] = object()
    follow(each, pool(0, 1), lives=lives)
    assert matched(each, blocks("abcd")) == [0, 4 * BLOCK]
    record(each, blocks("ab"), 0)
    follow(each, pool(0, 1), lives=list(lives))
    assert matched(each, blocks("abcd")) == [2 * BLOCK, 4 * BLOCK]


@pytest.mark.parametrize(
    "published",
    [pytest.param(10**6, id="many blocks"), pytest.param(10**30, id="more than there can be")],
)
def test_what_pages_say_of_caches_does_not_lift_the_bound(published: int) -> None:
    each = PrefixIndex(PrefixSettings(total_blocks=300))
    follow(each, pool(0, 1), (16, published), (published, published))
    for number in range(100):
        record(each, random.Random(number).randbytes(40_000), number % 2)
        assert each.entries <= 300
    assert each.entries > 200


def test_the_bound_holds_in_bytes_as_well() -> None:
    room = 1 << 20
    each = PrefixIndex(PrefixSettings(total_bytes=room))
    follow(each, pool(*range(100)))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(1500):
        record(each, random.Random(number).randbytes(4096), number % 100)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert each.entries <= room / ENTRY_BYTES
    assert room / 2 < used < room, "the bound is neither broken nor far from what it says"


def test_pools_share_what_may_be_kept() -> None:
    each = PrefixIndex(PrefixSettings(total_blocks=100))
    endpoints = pool(0)
    follow(each, endpoints)
    record(each, random.Random(1).randbytes(40_000), 0)
    before = each.entries
    each.share_with(4)
    while each.trim():
        pass
    assert before > 50
    assert each.entries == 25


def test_one_endpoint_cannot_push_out_what_others_hold() -> None:
    each = PrefixIndex(PrefixSettings(total_blocks=64))
    follow(each, pool(0, 1))
    record(each, blocks("ab" * 16), 0)
    for number in range(50):
        record(each, random.Random(number).randbytes(8192), 1)
    assert matched(each, blocks("ab" * 16))[0] == 32 * BLOCK


_numbers = st.integers(1, 2000) | st.sampled_from([10**9, 10**30])
_turns = st.lists(
    st.tuples(st.sampled_from(["record", "life", "size", "blocks", "come", "go"]), st.integers(0, 5), _numbers),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(_turns)
def test_whatever_happens_the_bound_holds_and_what_is_cut_back_is_gone_in_the_end(
    turns: list[tuple[str, int, int]],
) -> None:
    limit = 100
    each = PrefixIndex(PrefixSettings(total_blocks=limit))
    present: list[int] = []
    lives: dict[int, object] = {}
    sizes: dict[int, int] = {}
    counts: dict[int, int] = {}

    def told() -> None:
        columns = ([of.get(name) for name in present] for of in (sizes, counts))
        follow(each, pool(*present), *columns, lives=[lives.get(name, LIFE) for name in present])

    told()
    for what, name, number in turns:
        if what == "record" and name in present:
            record(each, random.Random(number).randbytes(6000), present.index(name))
            assert each.entries <= limit
        elif what == "life":
            lives[name] = object()
        elif what == "size":
            sizes[name] = number
        elif what == "blocks":
            counts[name] = number
        elif what == "come" and name not in present:
            present.append(name)
        elif what == "go" and name in present:
            present.remove(name)
        told()
        assert all(cache.size >= 0 for cache in each._rows)
    present[:] = [7]
    told()
    for _ in range(5):
        record(each, b"", 0)
    assert (each.entries, len(each)) == (0, 0)


def test_without_tuning_the_configuration_decides() -> None:
    each = PrefixIndex(PrefixSettings(auto_tune=False, block_size_tokens=16, capacity_blocks=7))
    follow(each, pool(0), (128,), (1000,))
    record(each, blocks("abcdefghij"), 0)
    assert each._rows[0].grid == 64
    assert each._rows[0].size == 7


def test_an_endpoint_that_leaves_vanishes_and_its_place_starts_empty() -> None:
    each = index(2)
    record(each, blocks("ab"), 0)
    record(each, blocks("a"), 1)
    follow(each, pool(1))
    assert matched(each, blocks("ab")) == [BLOCK]
    follow(each, pool(1, 0))
    assert matched(each, blocks("ab")) == [BLOCK, 0]


def test_the_same_name_at_another_address_is_another_endpoint() -> None:
    each = index(1)
    record(each, blocks("a"), 0)
    follow(each, (endpoint(0, port=9000),))
    assert matched(each, blocks("a")) == [0]


def test_what_gone_endpoints_held_is_cleared_while_others_are_recorded() -> None:
    each = index(2)
    for number in range(50):
        record(each, random.Random(number).randbytes(8192), 0)
    follow(each, pool(1))
    assert len(each) == 50 * 32
    for _ in range(20):
        record(each, blocks("a"), 0)
    assert len(each) == 1


def test_only_so_much_of_a_prompt_is_looked_at() -> None:
    each = PrefixIndex(PrefixSettings(max_blocks=4))
    follow(each, pool(0))
    chains = each.chains("m", blocks("abcdefgh"))
    assert chains.matchable_bytes == 4 * BLOCK
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
        assert each._rows[row].size == len(naive.held[row])
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
            follow(each, pool(*present))
            naive = {name: naive.get(name) or NaiveIndex(1, 8) for name in present}
            continue
        prompt = blocks(step[0])
        assert matched(each, prompt) == [naive[name].matched(prompt, 0) for name in present]
        if step[1] in present:
            record(each, prompt, present.index(step[1]))
            naive[step[1]].record(prompt, 0)
