"""Approximate prefix index: which endpoint was sent which prompt prefix, and so probably has it in its KV cache.

A prompt is cut into blocks whose hashes are chained, so that one hash stands for everything up to the block's end. The
index maps a hash to the endpoints that hold it (one bit each) and keeps, for each endpoint, its blocks in least
recently used order up to the capacity of its cache.

Invariant: an endpoint that holds a block holds every block before it in the prompt. Recording touches the chain from
its end to its start, so a block is never younger than the one before it, and eviction takes ends before starts, as
the engines' own caches do. The endpoints along a chain therefore only become fewer, which is what lets `match` bisect.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from xxhash import xxh3_64_intdigest

from infscale.endpoint import Endpoint, EndpointKey
from infscale.metrics.sample import FloatArray

BYTES_PER_TOKEN: Final = 4
_BLOCKS_PER_SIZE: Final = 32
_CLEARED_PER_RECORD: Final = 128
_FEW_BITS: Final = 12

Identity = tuple[EndpointKey, str]


@dataclass(frozen=True, slots=True)
class PrefixSettings:
    """How prompts are cut and how much each endpoint is believed to keep.

    `auto_tune` takes block size and capacity from what the engines publish, where they do; `block_size_tokens` (at
    least 64) and `capacity_blocks` (per endpoint, of that size) serve otherwise. Of a prompt, at most
    `max_blocks` blocks and `max_tokens` tokens are looked at.
    """

    auto_tune: bool = True
    block_size_tokens: int = 64
    max_blocks: int = 2048
    max_tokens: int = 131_072
    capacity_blocks: int = 31_250

    def __post_init__(self) -> None:
        if min(self.block_size_tokens, self.max_blocks, self.max_tokens, self.capacity_blocks) < 1:
            raise ValueError("prefix index settings are positive")

    def block_tokens(self, published: Iterable[int | None]) -> int:
        """The tokens of the smallest block: the largest size an engine publishes, never below 64."""
        sizes = [size for size in published if size] if self.auto_tune else []
        return max(64, max(sizes, default=self.block_size_tokens))

    def capacity(self, block_tokens: int, engine_block: int | None, engine_blocks: int | None) -> int:
        """Smallest blocks one endpoint keeps."""
        if self.auto_tune and engine_block and engine_blocks:
            return max(1, engine_block * engine_blocks // block_tokens)
        return self.capacity_blocks


@dataclass(slots=True, unsafe_hash=True, init=False)
class PrefixChain:
    """A prompt's prefixes: `hashes[i]` stands for its first `ends[i]` bytes."""

    hashes: Final[Sequence[int]]
    ends: Final[Sequence[int]]

    def __init__(
        self,
        hashes: Sequence[int],
        ends: Sequence[int],
    ) -> None:
        self.hashes = hashes
        self.ends = ends

    @property
    def matchable_bytes(self) -> int:
        """Bytes of the prompt covered by whole blocks."""
        return self.ends[len(self.hashes) - 1] if self.hashes else 0


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


class _Cache:
    """The blocks one endpoint is believed to hold, least recently used first, and how many smallest blocks that is."""

    __slots__ = ("bit", "blocks", "capacity", "size")

    def __init__(self, bit: int) -> None:
        self.bit = bit
        self.blocks: OrderedDict[int, int] = OrderedDict()
        self.capacity = 1
        self.size = 0


class PrefixIndex:
    """The index of one pool. Rows are those of the endpoints last given to `sync`. Call it from one thread only."""

    def __init__(self, settings: PrefixSettings | None = None) -> None:
        self._settings = settings or PrefixSettings()
        self._endpoints: tuple[Endpoint, ...] = ()
        self._block_sizes: Sequence[int | None] = ()
        self._num_blocks: Sequence[int | None] = ()
        self._rows: list[_Cache] = []
        self._caches: dict[Identity, _Cache] = {}
        self._row_of_bit = np.zeros(0, dtype=np.intp)
        self._alive = 0
        self._free: list[int] = []
        self._bits = 0
        self._retired: list[_Cache] = []
        self._holders: dict[int, int] = {}
        self._lay_out(self._settings.block_tokens(()))

    def __len__(self) -> int:
        return len(self._holders)

    @property
    def block_tokens(self) -> int:
        """Tokens of the smallest block."""
        return self._block_tokens

    def held_blocks(self, row: int) -> int:
        """Smallest blocks the endpoint of `row` is believed to hold."""
        return self._rows[row].size

    def sync(
        self,
        endpoints: tuple[Endpoint, ...],
        block_sizes: Sequence[int | None],
        num_blocks: Sequence[int | None],
    ) -> None:
        """Follow the pool: new endpoints hold nothing, gone ones vanish at once, published cache sizes apply.

        A changed block size cuts prompts elsewhere, so everything known is forgotten with it.
        """
        same = endpoints is self._endpoints
        if same and block_sizes is self._block_sizes and num_blocks is self._num_blocks:
            return
        unchanged = same and block_sizes == self._block_sizes and num_blocks == self._num_blocks
        self._block_sizes, self._num_blocks = block_sizes, num_blocks
        if unchanged:
            return
        block_tokens = self._settings.block_tokens(block_sizes)
        if block_tokens != self._block_tokens:
            self._forget(block_tokens)
            same = False
        if not same:
            self._place(endpoints)
        for cache, size, blocks in zip(self._rows, block_sizes, num_blocks, strict=True):
            cache.capacity = self._settings.capacity(block_tokens, size, blocks)

    def chain(self, seed: str, prompt: bytes) -> PrefixChain:
        """The chain of `prompt`; prompts match only under an equal `seed` (model, LoRA adapter, cache salt)."""
        count = bisect_right(self._ends, len(prompt))
        if not count:
            return PrefixChain((), self._ends)
        hashed = xxh3_64_intdigest
        digest = hashed(seed.encode("utf-8", "surrogatepass"))
        hashes: list[int] = []
        start = 0
        for end in self._ends[:count]:
            digest = hashed(prompt[start:end], digest)
            hashes.append(digest)
            start = end
        return PrefixChain(hashes, self._ends)

    def match(self, chain: PrefixChain) -> FloatArray:
        """Bytes of the longest prefix each row holds."""
        matched = np.zeros(len(self._rows))
        hashes, ends, holders, alive = chain.hashes, chain.ends, self._holders, self._alive
        if not hashes or not holders.get(hashes[0], 0) & alive:
            return matched
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
        return matched

    def record(self, chain: PrefixChain, row: int) -> None:
        """The endpoint of `row` was sent the prompt: it holds the chain now, and has used it last."""
        cache, holders, weights = self._rows[row], self._holders, self._weights
        blocks, bit = cache.blocks, cache.bit
        for place in range(len(chain.hashes) - 1, -1, -1):
            digest = chain.hashes[place]
            if digest in blocks:
                blocks.move_to_end(digest)
                continue
            blocks[digest] = weights[place]
            cache.size += weights[place]
            holders[digest] = holders.get(digest, 0) | bit
        while cache.size > cache.capacity:
            self._drop_oldest(cache)
        if self._retired:
            self._clear_retired()

    def _lay_out(self, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        block_bytes = block_tokens * BYTES_PER_TOKEN
        limit = min(self._settings.max_tokens * BYTES_PER_TOKEN, self._settings.max_blocks * block_bytes)
        self._ends = block_ends(block_bytes, limit)
        starts = (0, *self._ends[:-1])
        self._weights = [(end - start) // block_bytes for start, end in zip(starts, self._ends, strict=False)]

    def _forget(self, block_tokens: int) -> None:
        self._holders, self._caches, self._rows, self._retired = {}, {}, [], []
        self._free, self._bits, self._alive = [], 0, 0
        self._lay_out(block_tokens)

    def _place(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Give every endpoint its cache and bit. The same key at another address is another endpoint."""
        kept: dict[Identity, _Cache] = {}
        for endpoint in endpoints:
            identity = (endpoint.key, endpoint.authority)
            known = identity in self._caches
            kept[identity] = self._caches.pop(identity) if known else _Cache(1 << self._take_bit())
        self._retired.extend(self._caches.values())
        self._caches, self._endpoints = kept, endpoints
        self._rows = [kept[each.key, each.authority] for each in endpoints]
        self._row_of_bit = np.zeros(self._bits, dtype=np.intp)
        self._alive = 0
        for row, cache in enumerate(self._rows):
            self._row_of_bit[cache.bit.bit_length() - 1] = row
            self._alive |= cache.bit

    def _take_bit(self) -> int:
        if self._free:
            return self._free.pop()
        self._bits += 1
        return self._bits - 1

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
        left = self._holders[digest] & ~cache.bit
        if left:
            self._holders[digest] = left
        else:
            del self._holders[digest]

    def _clear_retired(self) -> None:
        """Clear a few blocks of an endpoint that is gone: all at once would hold up every other exchange.

        Its bit counts for nothing meanwhile and is given out again once no block carries it.
        """
        cache = self._retired[-1]
        for _ in range(min(_CLEARED_PER_RECORD, len(cache.blocks))):
            self._drop_oldest(cache)
        if not cache.blocks:
            self._retired.pop()
            self._free.append(cache.bit.bit_length() - 1)
