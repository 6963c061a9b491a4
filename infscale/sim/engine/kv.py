"""The KV cache of one engine, counted in blocks: private, shared by prefix, cached and free."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence


class BlockPool:
    """Blocks of KV cache, with prefix sharing by chained block hashes and LRU eviction of what no sequence holds.

    A block is *free*, *private* to one sequence, or *cached* under its hash; a cached block is held by any number of
    sequences or by none (idle: it serves later prefix matches and goes first when blocks run out). At all times
    ``free + private + cached == num_blocks``. A block computed twice at the same time is kept once, which holds a
    little less memory than engines that keep both. `changes` grows whenever a block is published, held or let go:
    while it stands, the idle blocks keep their order, and a match finds as much unless some of it is evicted.
    """

    __slots__ = ("_holders", "_idle", "changes", "free", "num_blocks", "private")

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self.free = num_blocks
        self.private = 0
        self.changes = 0
        self._holders: dict[Hashable, int] = {}
        self._idle: OrderedDict[Hashable, None] = OrderedDict()

    @property
    def cached(self) -> int:
        """Blocks that carry a hash, held or idle."""
        return len(self._holders)

    @property
    def idle(self) -> int:
        """Cached blocks that no sequence holds."""
        return len(self._idle)

    @property
    def available(self) -> int:
        """Blocks a sequence could get now: free ones and idle ones."""
        return self.free + len(self._idle)

    @property
    def usage_ratio(self) -> float:
        """Share of blocks held by sequences, as engines report it: idle cached blocks count as free."""
        return 1.0 - self.available / self.num_blocks

    def match(self, hashes: Sequence[Hashable], limit: int) -> int:
        """How many leading blocks of `hashes`, at most `limit`, are cached without a gap."""
        holders = self._holders
        for index, block in enumerate(hashes[:limit]):
            if block not in holders:
                return index
        return min(limit, len(hashes))

    def hold(self, hashes: Sequence[Hashable]) -> None:
        """Hold cached blocks; every hash must be cached."""
        self.changes += len(hashes)
        holders, idle = self._holders, self._idle
        for block in hashes:
            if holders[block] == 0:
                del idle[block]
            holders[block] += 1

    def take(self, count: int) -> bool:
        """Take `count` private blocks, evicting the longest idle ones as needed; False (and no change) if too few."""
        if count > self.available:
            return False
        for _ in range(count - self.free):
            block, _none = self._idle.popitem(last=False)
            del self._holders[block]
            self.free += 1
        self.free -= count
        self.private += count
        return True

    def publish(self, hashes: Sequence[Hashable]) -> None:
        """Turn as many private blocks of the caller into cached ones it holds; one cached already is held instead."""
        self.changes += len(hashes)
        holders, idle = self._holders, self._idle
        for block in hashes:
            count = holders.get(block)
            if count is None:
                holders[block] = 1
            else:
                if count == 0:
                    del idle[block]
                holders[block] = count + 1
                self.free += 1
        self.private -= len(hashes)

    def release(self, hashes: Sequence[Hashable], private: int) -> None:
        """Give back held cached blocks and `private` private ones; the tail of a prefix becomes the first to evict."""
        self.changes += len(hashes)
        holders, idle = self._holders, self._idle
        for block in reversed(hashes):
            holders[block] -= 1
            if holders[block] == 0:
                idle[block] = None
        self.private -= private
        self.free += private
