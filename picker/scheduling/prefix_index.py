"""Approximate prefix index: which endpoint was sent which prompt prefix, and so probably has it in its KV cache.

A prompt is cut into blocks whose hashes are chained, so that one hash stands for everything up to the block's end. The
index maps a hash to the endpoints that hold it (one bit each) and keeps, for each endpoint, its blocks in least
recently used order up to the capacity of its cache.

Invariant: an endpoint that holds a block holds every block before it in the prompt. Recording touches the chain from
its end to its start, so a block is never younger than the one before it, and eviction takes ends before starts, as
the engines' own caches do. The endpoints along a chain therefore only become fewer, which is what lets `match` bisect.

Engines cache whole blocks of their own size, so that each endpoint has the grid its engine publishes; a prompt is cut
once for each grid in use. There are few grids (`grid_tokens`), so that no page makes requests dear.

What is kept has a limit, whatever pages say of the size of caches: every endpoint has an equal share of it. An endpoint
with more than its share (its share has become smaller, its cache has, or it is gone) is cut back a little with every
request: never all at once, and faster than anything is added.
"""

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from xxhash import xxh3_64_intdigest

from infscale.endpoint import Endpoint, EndpointKey
from infscale.metrics.sample import FloatArray

BYTES_PER_TOKEN: Final = 4
ENTRY_BYTES: Final = 256
"""What one block of one endpoint takes in memory at most, beside one bit for each endpoint (measured)."""

_BLOCKS_PER_SIZE: Final = 32
_CLEARED_PER_RECORD: Final = 128
_FEW_BITS: Final = 12
_GRIDS: Final = (64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)

Identity = tuple[EndpointKey, str]
Published = tuple[Sequence[int | None], Sequence[int | None], Sequence[object]]


@dataclass(frozen=True, slots=True)
class PrefixSettings:
    """How prompts are cut and how much each endpoint is believed to keep.

    `auto_tune` takes block size and capacity from what the engines publish, where they do; `block_size_tokens` (at
    least 64) and `capacity_blocks` (per endpoint, of that size) serve otherwise. Of a prompt, at most
    `max_blocks` blocks and `max_tokens` tokens are looked at. All endpoints of all pools together keep at most
    `total_blocks` blocks, and no more than `total_bytes` have room for.
    """

    auto_tune: bool = True
    block_size_tokens: int = 64
    max_blocks: int = 2048
    max_tokens: int = 131_072
    capacity_blocks: int = 31_250
    total_blocks: int = 500_000
    total_bytes: int = 128 << 20

    def __post_init__(self) -> None:
        own = (self.block_size_tokens, self.max_blocks, self.max_tokens, self.capacity_blocks)
        if min(*own, self.total_blocks, self.total_bytes) < 1:
            raise ValueError("prefix index settings are positive")

    def block_tokens(self, published: int | None) -> int:
        """The tokens of the smallest block of an endpoint whose engine publishes this size."""
        if self.auto_tune and published:
            return grid_tokens(published)
        return max(_GRIDS[0], self.block_size_tokens)

    def capacity(self, block_tokens: int, engine_block: int | None, engine_blocks: int | None) -> int:
        """Smallest blocks one endpoint keeps."""
        if self.auto_tune and engine_block and engine_blocks:
            return max(1, engine_block * engine_blocks // block_tokens)
        return self.capacity_blocks

    def share(self, endpoints: int, pools: int) -> int:
        """Blocks of any size that each of so many endpoints of a pool may keep, of so many pools."""
        of_bytes = self.total_bytes // (ENTRY_BYTES + endpoints // 8)
        return max(1, min(self.total_blocks, of_bytes) // (max(1, endpoints) * pools))


def grid_tokens(engine_block: int) -> int:
    """The tokens of the smallest block for engines whose own are so long: of few sizes the next larger one."""
    return _GRIDS[min(bisect_left(_GRIDS, engine_block), len(_GRIDS) - 1)]


@dataclass(slots=True, unsafe_hash=True, init=False)
class PrefixChain:
    """A prompt's prefixes on one grid: `hashes[i]` stands for its first `ends[i]` bytes."""

    hashes: Final[Sequence[int]]
    ends: Final[Sequence[int]]

    def __init__(self, hashes: Sequence[int], ends: Sequence[int]) -> None:
        self.hashes = hashes
        self.ends = ends

    @property
    def matchable_bytes(self) -> int:
        """Bytes of the prompt covered by whole blocks."""
        return self.ends[len(self.hashes) - 1] if self.hashes else 0


@dataclass(slots=True, unsafe_hash=True, init=False)
class PromptChains:
    """A prompt's prefixes on every grid that was in use when it was cut, by the tokens of its smallest block."""

    # A `dict`, which the compiler walks through faster than a mapping of any kind.
    by_grid: Final[dict[int, PrefixChain]]

    def __init__(self, by_grid: dict[int, PrefixChain]) -> None:
        self.by_grid = by_grid

    @property
    def matchable_bytes(self) -> int:
        """Bytes of the prompt covered by whole blocks, on the grid that covers most."""
        most = 0
        for chain in self.by_grid.values():
            most = max(most, chain.matchable_bytes)
        return most


NO_CHAINS: Final = PromptChains({})
"""Of a request without a prompt."""


def block_ends(block_bytes: int, limit_bytes: int) -> tuple[int, ...]:
    """Where blocks end: 32 of the smallest size, then 32 of twice that, and so on up to the limit.

    The places depend on nothing but the offset, so prompts that share a prefix share its blocks. Past the first 32, a
    block is at most a sixteenth of what lies before it: long prompts cost little and lose little.
    """
    ends: list[int] = []
    size, end = block_bytes, 0
    while True:
        for _ in range(_BLOCKS_PER_SIZE):
            end += size
            if end > limit_bytes:
                return tuple(ends)
            ends.append(end)
        size *= 2


class _Grid:
    """Where blocks of one smallest size end, their weights in smallest ones, and which endpoints keep them, as bits."""

    __slots__ = ("alive", "ends", "weights")

    def __init__(self, block_tokens: int, settings: PrefixSettings) -> None:
        block_bytes = block_tokens * BYTES_PER_TOKEN
        limit = min(settings.max_tokens * BYTES_PER_TOKEN, settings.max_blocks * block_bytes)
        self.ends = block_ends(block_bytes, limit)
        starts = (0, *self.ends[:-1])
        self.weights = [(end - start) // block_bytes for start, end in zip(starts, self.ends, strict=False)]
        self.alive = 0


class _Cache:
    """The blocks one endpoint is believed to hold, least recently used first, and how many smallest blocks that is.

    `life` is that of the engine which holds them. At most `capacity` smallest blocks and `share` blocks are to stay;
    none of a cache that is gone. One that is `trimmed` is in the list of those that are cut back.
    """

    __slots__ = ("bit", "blocks", "capacity", "grid", "life", "share", "size", "trimmed")

    def __init__(self, bit: int, grid: int, life: object) -> None:
        self.bit = bit
        self.grid = grid
        self.life = life
        self.blocks: OrderedDict[int, int] = OrderedDict()
        self.capacity = 0
        self.share = 0
        self.size = 0
        self.trimmed = False

    @property
    def is_over(self) -> bool:
        """Whether it holds more than it may."""
        return self.size > self.capacity or len(self.blocks) > self.share


class PrefixIndex:
    """The index of one pool. Rows are those of the endpoints last given to `sync`. Call it from one thread only."""

    def __init__(self, settings: PrefixSettings | None = None) -> None:
        self._settings = settings or PrefixSettings()
        self._endpoints: tuple[Endpoint, ...] = ()
        self._published: Published = ((), (), ())
        self._pools = 1
        self._rows: list[_Cache] = []
        self._caches: dict[Identity, _Cache] = {}
        self._grids: dict[int, _Grid] = {}
        self._row_of_bit = np.zeros(0, dtype=np.intp)
        self._free: list[int] = []
        self._bits = 0
        # Caches to cut back: those of endpoints that are gone or began anew, to nothing.
        self._over: list[_Cache] = []
        self._holders: dict[int, int] = {}
        self.entries = 0
        """Blocks held, counted once for each endpoint that holds them: what memory goes by."""

    def __len__(self) -> int:
        """Different blocks that any endpoint holds."""
        return len(self._holders)

    def share_with(self, pools: int) -> None:
        """There are so many pools, this one among them, that share what may be kept."""
        if self._pools == max(1, pools):
            return
        self._pools = max(1, pools)
        share = self._settings.share(len(self._rows), self._pools)
        for cache in self._rows:
            cache.share = share
            self._note_over(cache)

    def trim(self) -> bool:
        """Cut back a little of what is kept beyond the limits, as requests of this pool do; whether more is left to."""
        self._clear(_CLEARED_PER_RECORD)
        return bool(self._over)

    def sync(
        self,
        endpoints: tuple[Endpoint, ...],
        block_sizes: Sequence[int | None],
        num_blocks: Sequence[int | None],
        lives: Sequence[object],
    ) -> None:
        """Follow the pool: new endpoints hold nothing, gone ones vanish at once, published cache sizes apply.

        An endpoint of another life, or with another grid, holds nothing any more; the others keep what they have. A
        size that is not published (any more) is as it was.
        """
        same = endpoints is self._endpoints
        published: Published = (block_sizes, num_blocks, lives)
        # Columns are the same objects until something is written into them; most pages say again what they said.
        before = self._published
        # One by one, for the compiler.
        if same and block_sizes is before[0] and num_blocks is before[1] and lives is before[2]:
            return
        unchanged = same and published == before
        self._published = published
        if unchanged:
            return
        caches: dict[Identity, _Cache] = {}
        changed = not same
        for endpoint, size, life in zip(endpoints, block_sizes, lives, strict=True):
            identity = (endpoint.key, endpoint.authority)
            known = self._caches.pop(identity, None)
            kept = self._kept(known, size, life)
            changed = changed or kept is not known
            caches[identity] = kept
        for gone in self._caches.values():
            self._retire(gone)
        self._caches, self._endpoints = caches, endpoints
        self._rows = list(caches.values())
        if changed:
            self._place()
        share = self._settings.share(len(self._rows), self._pools)
        for cache, size, blocks in zip(self._rows, block_sizes, num_blocks, strict=True):
            self._limit(cache, size, blocks, share)

    def chains(self, seed: str, prompt: bytes) -> PromptChains:
        """The chains of `prompt`; prompts match only under an equal `seed` (model, LoRA adapter, cache salt)."""
        start = xxh3_64_intdigest(seed.encode("utf-8", "surrogatepass"))
        return PromptChains({tokens: _chained(start, prompt, grid.ends) for tokens, grid in self._grids.items()})

    def match(self, chains: PromptChains) -> FloatArray:
        """Bytes of the longest prefix each row holds."""
        matched = np.zeros(len(self._rows))
        for tokens, chain in chains.by_grid.items():
            grid = self._grids.get(tokens)
            if grid is not None:
                self._match(matched, chain, grid.alive)
        return matched

    def record(self, chains: PromptChains, row: int) -> None:
        """The endpoint of `row` was sent the prompt: it holds the chain now, and has used it last."""
        cache = self._rows[row]
        chain = chains.by_grid.get(cache.grid)
        if chain is not None:
            weights, blocks, holders, bit = self._grids[cache.grid].weights, cache.blocks, self._holders, cache.bit
            for place in range(len(chain.hashes) - 1, -1, -1):
                digest = chain.hashes[place]
                if digest in blocks:
                    blocks.move_to_end(digest)
                    continue
                blocks[digest] = weights[place]
                cache.size += weights[place]
                self.entries += 1
                holders[digest] = holders.get(digest, 0) | bit
        # Twice what may have come in: so what is over its limit becomes less with every request.
        budget = _CLEARED_PER_RECORD + (2 * len(chain.hashes) if chain is not None else 0)
        budget -= self._cut_back(cache, budget)
        self._note_over(cache)
        self._clear(budget)

    def _kept(self, known: "_Cache | None", size: int | None, life: object) -> "_Cache":
        """The cache of an endpoint from now on: the `known` one unless what is in it is worth nothing any more."""
        tokens = known.grid if known is not None and not size else self._settings.block_tokens(size)
        if known is not None:
            if known.grid == tokens and known.life is life:
                return known
            self._retire(known)
        return _Cache(1 << self._take_bit(), tokens, life)

    def _limit(self, cache: _Cache, size: int | None, blocks: int | None, share: int) -> None:
        cache.share = share
        if (size and blocks) or not cache.capacity:
            cache.capacity = self._settings.capacity(cache.grid, size, blocks)
        self._note_over(cache)

    def _note_over(self, cache: _Cache) -> None:
        """Have a cache cut back that holds more than it may."""
        if cache.is_over and not cache.trimmed:
            cache.trimmed = True
            self._over.append(cache)

    def _retire(self, cache: _Cache) -> None:
        """Forget what is in a cache: at once for lookups, and little by little for the memory it takes."""
        cache.capacity = cache.share = 0
        if cache.trimmed:
            return
        if cache.blocks:
            cache.trimmed = True
            self._over.append(cache)
        else:
            self._free.append(cache.bit.bit_length() - 1)

    def _place(self) -> None:
        """Lay out the grids in use and the rows of bits anew."""
        tokens = {cache.grid for cache in self._rows}
        self._grids = {each: self._grids.get(each) or _Grid(each, self._settings) for each in sorted(tokens)}
        for grid in self._grids.values():
            grid.alive = 0
        self._row_of_bit = np.zeros(self._bits, dtype=np.intp)
        for row, cache in enumerate(self._rows):
            self._row_of_bit[cache.bit.bit_length() - 1] = row
            self._grids[cache.grid].alive |= cache.bit

    def _take_bit(self) -> int:
        if self._free:
            return self._free.pop()
        self._bits += 1
        return self._bits - 1

    def _match(self, matched: FloatArray, chain: PrefixChain, alive: int) -> None:
        """Put what rows of the bits `alive` hold of `chain` into `matched`."""
        hashes, ends, holders = chain.hashes, chain.ends, self._holders
        if not hashes or not holders.get(hashes[0], 0) & alive:
            return
        # Segments of the chain between two known sets of holders; where both are equal nothing ends in between.
        last = len(hashes) - 1
        first_holders, last_holders = holders[hashes[0]] & alive, holders.get(hashes[last], 0) & alive
        self._spread(matched, last_holders, ends[last])
        segments = [(0, first_holders, last, last_holders)]
        while segments:
            low, low_holders, high, high_holders = segments.pop()
            if low_holders == high_holders:
                continue
            if high - low == 1:
                self._spread(matched, low_holders & ~high_holders, ends[low])
                continue
            middle = (low + high) // 2
            middle_holders = holders.get(hashes[middle], 0) & alive
            segments.append((low, low_holders, middle, middle_holders))
            segments.append((middle, middle_holders, high, high_holders))

    def _spread(self, matched: FloatArray, bits: int, value: int) -> None:
        """Set `matched` to `value` in the rows of `bits`."""
        if bits.bit_count() <= _FEW_BITS:
            while bits:
                low = bits & -bits
                matched[self._row_of_bit[low.bit_length() - 1]] = value
                bits ^= low
            return
        packed = np.frombuffer(bits.to_bytes((bits.bit_length() + 7) // 8, "little"), dtype=np.uint8)
        matched[self._row_of_bit[np.unpackbits(packed, bitorder="little").nonzero()[0]]] = value

    def _drop_oldest(self, cache: _Cache) -> None:
        digest, weight = cache.blocks.popitem(last=False)
        cache.size -= weight
        self.entries -= 1
        left = self._holders[digest] & ~cache.bit
        if left:
            self._holders[digest] = left
        else:
            del self._holders[digest]

    def _cut_back(self, cache: _Cache, budget: int) -> int:
        """Drop what a cache holds beyond its limits, at most `budget` blocks; how many those were."""
        dropped = 0
        while dropped < budget and cache.is_over:
            self._drop_oldest(cache)
            dropped += 1
        return dropped

    def _clear(self, budget: int) -> None:
        """Cut back caches that hold more than they may; the bit of one that is gone is given out again in the end.

        Its bit counts for nothing meanwhile.
        """
        while self._over:
            cache = self._over[-1]
            budget -= self._cut_back(cache, budget)
            if cache.is_over:
                return
            self._over.pop()
            cache.trimmed = False
            if not cache.share:
                self._free.append(cache.bit.bit_length() - 1)


def _chained(digest: int, prompt: bytes, ends: tuple[int, ...]) -> PrefixChain:
    """The chain of `prompt` that begins with `digest`."""
    count = bisect_right(ends, len(prompt))
    hashed = xxh3_64_intdigest
    hashes: list[int] = []
    start = 0
    for end in ends[:count]:
        digest = hashed(prompt[start:end], digest)
        hashes.append(digest)
        start = end
    return PrefixChain(hashes, ends)
