"""The requests inside an engine, and those of them that decode: a step costs the same however many they are."""

from collections.abc import Iterable

from infscale.sim.engine.kv import CachedBlock
from infscale.sim.engine.steps import EngineRequest


class EngineSequence:
    """State of one request inside the engine.

    `computed` tokens have KV; `target` is what prefill must reach. While it decodes, `computed` and `generated` are
    kept by `DecodeBatch` instead. It holds as many blocks as its computed tokens fill or begin, the leading ones,
    `shared`, under their hashes, and one less where `owes_block` says that its newest token has none yet.
    """

    __slots__ = (
        "arrived_at",
        "cached_tokens",
        "computed",
        "first_token_at",
        "generated",
        "gone",
        "joined_begun",
        "joined_ended",
        "last_token_at",
        "owes_block",
        "preemptions",
        "request",
        "scheduled_at",
        "shared",
        "target",
    )

    def __init__(self, request: EngineRequest, arrived_at: float) -> None:
        self.request = request
        self.arrived_at = arrived_at
        self.target = request.prompt_tokens
        self.computed = 0
        self.shared: list[CachedBlock] = []
        self.generated = 0
        self.cached_tokens = 0
        self.preemptions = 0
        self.scheduled_at: float | None = None
        self.first_token_at: float | None = None
        self.last_token_at = 0.0
        self.owes_block = False
        self.gone = False
        self.joined_begun = 0
        self.joined_ended = 0


class DecodeBatch:
    """The sequences that get one token in every step, in the order in which they joined.

    A step changes counters of the whole batch alone. What a sequence computed and generated follows from the steps
    begun and ended since it joined; when it needs a block or ends is known from the start.
    """

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        self._members: dict[int, EngineSequence] = {}
        # By the steps begun, modulo the block size: how many sequences need one more block in the next.
        self._short = [0] * block_size
        # By the steps ended: who gets its last token with that step.
        self._ending: dict[int, list[EngineSequence]] = {}
        self._begun = 0
        self._ended = 0
        self._ids: tuple[int, ...] = ()
        self._ids_hold = True
        self.kv_tokens = 0

    def __len__(self) -> int:
        return len(self._members)

    @property
    def ids(self) -> tuple[int, ...]:
        """Request ids of the sequences."""
        if not self._ids_hold:
            self._ids = tuple(self._members)
            self._ids_hold = True
        return self._ids

    def join(self, seq: EngineSequence) -> None:
        """Take in a sequence that has its prompt computed and a token to show for it; no step is in progress."""
        self._members[seq.request.id] = seq
        self._ids_hold = False
        self.kv_tokens += seq.computed
        seq.joined_begun, seq.joined_ended = self._begun, self._ended
        self._short[(self._begun - seq.computed) % self._block_size] += 1
        left = seq.request.output_tokens - seq.generated
        if left > 0:
            self._ending.setdefault(self._ended + left, []).append(seq)

    def leave(self, seq: EngineSequence) -> bool:
        """Let go of a sequence, which has its own counts again; False if it is not here."""
        if self._members.pop(seq.request.id, None) is None:
            return False
        self._ids_hold = False
        self._short[(seq.joined_begun - seq.computed) % self._block_size] -= 1
        last = seq.joined_ended + seq.request.output_tokens - seq.generated
        ending = self._ending.get(last)
        if ending is not None:
            ending.remove(seq)
            if not ending:
                del self._ending[last]
        seq.computed += self._begun - seq.joined_begun
        seq.generated += self._ended - seq.joined_ended
        self.kv_tokens -= seq.computed
        return True

    def begin(self) -> int:
        """Begin a step: every context grows by a token; how many sequences need a block for it."""
        needed = self._short[self._begun % self._block_size]
        self._begun += 1
        self.kv_tokens += len(self._members)
        return needed

    def short(self) -> list[EngineSequence]:
        """The sequences that need a block in the step that was begun last."""
        begun, size = self._begun - 1, self._block_size
        return [seq for seq in self._members.values() if (seq.computed + begun - seq.joined_begun) % size == 0]

    def end(self) -> Iterable[EngineSequence]:
        """End a step: every sequence has a token more; those for which it was the last, which are to leave."""
        self._ended += 1
        return self._ending.pop(self._ended, ())

    def steps_without_end(self, blocks: int) -> int:
        """How many next steps give no sequence its last token and need no more than `blocks` blocks together."""
        if not self._ending:
            return 0
        until_end = min(self._ending) - self._ended - 1
        for step in range(until_end):
            blocks -= self._short[(self._begun + step) % self._block_size]
            if blocks < 0:
                return step
        return until_end
