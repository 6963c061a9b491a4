"""The KV cache of one engine, counted in blocks: private, shared by prefix, cached and free."""

from collections.abc import Hashable, Iterable, Sequence


class CachedBlock:
    """A block that carries a hash, and how many sequences hold it; one that none holds has its place among the idle."""

    __slots__ = ("after", "before", "hash", "holders")

    def __init__(self, block_hash: Hashable, holders: int) -> None:
        self.hash = block_hash
        self.holders = holders
        self.before: CachedBlock | None = None
        self.after: CachedBlock | None = None


class BlockPool:
    """Blocks of KV cache, with prefix sharing by chained block hashes and LRU eviction of what no sequence holds.

    A block is *free*, *private* to one sequence, or *cached* under its hash; a cached block is held by any number of
    sequences or by none (idle: it serves later prefix matches and goes first when blocks run out). At all times
    ``free + private + cached == num_blocks``. A block computed twice at the same time is kept once, which holds a
    little less memory than engines that keep both. `changes` grows whenever a block is published, held or let go:
    while it stands, the idle blocks keep their order, and a match finds as much unless some of it is evicted.
    """

    __slots__ = ("_cached", "_ends", "_spare", "changes", "free", "idle", "num_blocks", "private")

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self.free = num_blocks
        self.private = 0
        self.changes = 0
        self.idle = 0
        self._cached: dict[Hashable, CachedBlock] = {}
        # Between the longest idle block, which is after it, and the one idle last: a ring of which this is a part.
        self._ends = CachedBlock(None, 1)
        self._ends.before = self._ends.after = self._ends
        # What was evicted is used again: garbage collection would take as long as all the rest.
        self._spare: list[CachedBlock] = []

    @property
    def cached(self) -> int:
        """Blocks that carry a hash, held or idle."""
        return len(self._cached)

    @property
    def available(self) -> int:
        """Blocks that can be taken: free ones and idle cached ones."""
        return self.free + self.idle

    @property
    def usage_ratio(self) -> float:
        """Share of blocks held by sequences, as engines report it: idle cached blocks count as free."""
        return 1.0 - self.available / self.num_blocks

    def match(self, hashes: Sequence[Hashable], limit: int) -> list[CachedBlock]:
        """The leading blocks of `hashes`, at most `limit`, that are cached without a gap."""
        cached = self._cached
        found: list[CachedBlock] = []
        for each in hashes[:limit]:
            block = cached.get(each)
            if block is None:
                break
            found.append(block)
        return found

    def hold(self, blocks: Sequence[CachedBlock]) -> None:
        """Hold cached blocks."""
        self.changes += len(blocks)
        for block in blocks:
            self._hold(block)

    def take(self, count: int) -> bool:
        """Take `count` private blocks, evicting the longest idle ones as needed; False (and no change) if too few."""
        if count > self.free + self.idle:
            return False
        while self.free < count:
            longest = self._ends.after
            if longest is not None:
                self._wake(longest)
                del self._cached[longest.hash]
                self._spare.append(longest)
                self.free += 1
        self.free -= count
        self.private += count
        return True

    def publish(self, hashes: Iterable[Hashable]) -> list[CachedBlock]:
        """Turn as many private blocks of the caller into cached ones it holds; one cached already is held instead."""
        cached = self._cached
        published: list[CachedBlock] = []
        for each in hashes:
            block = cached.get(each)
            if block is None:
                cached[each] = block = self._new(each)
            else:
                self._hold(block)
                self.free += 1
            published.append(block)
        self.private -= len(published)
        self.changes += len(published)
        return published

    def release(self, blocks: Sequence[CachedBlock], private: int) -> None:
        """Give back held cached blocks and `private` private ones; the tail of a prefix becomes the first to evict."""
        self.changes += len(blocks)
        ends = self._ends
        for block in reversed(blocks):
            block.holders -= 1
            last = ends.before
            if block.holders == 0 and last is not None:
                last.after, block.before = block, last
                ends.before, block.after = block, ends
                self.idle += 1
        self.private -= private
        self.free += private

    def _new(self, block_hash: Hashable) -> CachedBlock:
        if not self._spare:
            return CachedBlock(block_hash, 1)
        block = self._spare.pop()
        block.hash, block.holders = block_hash, 1
        return block

    def _hold(self, block: CachedBlock) -> None:
        if block.holders == 0:
            self._wake(block)
        block.holders += 1

    def _wake(self, block: CachedBlock) -> None:
        """Take a block from among the idle ones."""
        before, after = block.before, block.after
        if before is not None and after is not None:
            before.after, after.before = after, before
        block.before = block.after = None
        self.idle -= 1
