"""The engine in its plainest form: every step looks at every sequence. What the fast one does is compared with it."""

from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from infscale.latency.step_model import StepModel
from infscale.sim.engine.steps import (
    EngineRequest,
    EngineSettings,
    FinishedRequest,
    Refusal,
    StepOutcome,
    StepPlan,
)


@dataclass(slots=True, eq=False)
class _Sequence:
    """State of one request inside the engine. `computed` tokens have KV; `target` is what prefill must reach."""

    request: EngineRequest
    arrived_at: float
    target: int
    computed: int = 0
    capacity: int = 0
    shared: int = 0
    generated: int = 0
    cached_tokens: int = 0
    preemptions: int = 0
    scheduled_at: float | None = None
    first_token_at: float | None = None
    last_token_at: float = 0.0
    gone: bool = False


@dataclass(slots=True)
class _Step:
    """The step in progress."""

    decoding: list[_Sequence] = field(default_factory=list["_Sequence"])
    prefilled: list[_Sequence] = field(default_factory=list["_Sequence"])
    sequences: int = 0
    prefill_tokens: int = 0
    kv_tokens: int = 0
    load_seconds: float = 0.0
    preempted: int = 0
    admitted_tokens: int = 0
    cached_tokens: int = 0
    plan: StepPlan | None = None


class _BlockPool:
    """Blocks of KV cache, with prefix sharing by chained block hashes and LRU eviction of what no sequence holds.

    A block is *free*, *private* to one sequence, or *cached* under its hash; a cached block is held by any number of
    sequences or by none (idle: it serves later prefix matches and goes first when blocks run out). At all times
    ``free + private + cached == num_blocks``. A block computed twice at the same time is kept once, which holds a
    little less memory than engines that keep both.
    """

    __slots__ = ("_holders", "_idle", "free", "num_blocks", "private")

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self.free = num_blocks
        self.private = 0
        self._holders: dict[int, int] = {}
        self._idle: OrderedDict[int, None] = OrderedDict()

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

    def match(self, hashes: Sequence[int], limit: int) -> int:
        """How many leading blocks of `hashes`, at most `limit`, are cached without a gap."""
        holders = self._holders
        for index, block in enumerate(hashes[:limit]):
            if block not in holders:
                return index
        return min(limit, len(hashes))

    def hold(self, hashes: Sequence[int]) -> None:
        """Hold cached blocks; every hash must be cached."""
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

    def publish(self, hashes: Sequence[int]) -> None:
        """Turn as many private blocks of the caller into cached ones it holds; one cached already is held instead."""
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

    def release(self, hashes: Sequence[int], private: int) -> None:
        """Give back held cached blocks and `private` private ones; the tail of a prefix becomes the first to evict."""
        holders, idle = self._holders, self._idle
        for block in reversed(hashes):
            holders[block] -= 1
            if holders[block] == 0:
                idle[block] = None
        self.private -= private
        self.free += private


class ReferenceEngine:
    """The scheduler and KV cache of one engine; `created_at` is the driver's clock when start-up begins."""

    def __init__(self, settings: EngineSettings, coefficients: StepModel, created_at: float = 0.0) -> None:
        self.settings = settings
        self.coefficients = coefficients
        self.ready_at = created_at + settings.startup_seconds
        self.pool = _BlockPool(settings.num_blocks)
        self._waiting: deque[_Sequence] = deque()
        self._running: dict[int, _Sequence] = {}
        self._decoding: dict[int, _Sequence] = {}
        self._prefilling: dict[int, _Sequence] = {}
        self._sequences: dict[int, _Sequence] = {}
        self._lora_slots: OrderedDict[str, None] = OrderedDict()
        self._lora_running: dict[str, int] = {}
        self._decode_kv_tokens = 0
        self._step: _Step | None = None
        self._last_step_at = created_at

    # --- what a metrics page shows -----------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests in the batch."""
        return len(self._running)

    @property
    def kv_tokens(self) -> int:
        """Context tokens of all running sequences."""
        return self._decode_kv_tokens + sum(seq.computed for seq in self._prefilling.values())

    def running_loras(self) -> tuple[str, ...]:
        """LoRA adapters the batch uses, sorted."""
        return tuple(sorted(self._lora_running))

    def waiting_loras(self) -> tuple[str, ...]:
        """LoRA adapters requests in the queue ask for, sorted."""
        return tuple(sorted({seq.request.lora for seq in self._waiting if seq.request.lora is not None}))

    def deferred(self) -> int:
        """Requests in the queue that wait for a LoRA slot, not for capacity."""
        if len(self._lora_running) < self.settings.max_loras:
            return 0
        running = self._lora_running
        return sum(1 for seq in self._waiting if seq.request.lora is not None and seq.request.lora not in running)

    # --- requests ----------------------------------------------------------------------------------------------------

    def submit(self, request: EngineRequest, now: float) -> Refusal | None:
        """Queue a request, or say why not. Ids are the caller's and unique among unfinished requests."""
        if request.id in self._sequences:
            raise ValueError(f"request {request.id} is in the engine already")
        if request.prompt_tokens + request.output_tokens > self.settings.capacity_tokens:
            return Refusal.TOO_LONG
        if self.settings.max_waiting is not None and len(self._waiting) >= self.settings.max_waiting:
            return Refusal.QUEUE_FULL
        seq = _Sequence(request, arrived_at=now, target=request.prompt_tokens)
        self._sequences[request.id] = seq
        self._waiting.append(seq)
        return None

    def abort(self, request_id: int) -> bool:
        """Drop a request wherever it is; its blocks are free at once. False if it is not (or no longer) here."""
        seq = self._sequences.pop(request_id, None)
        if seq is None:
            return False
        seq.gone = True
        if request_id in self._running:
            self._leave_batch(seq)
        else:
            self._waiting.remove(seq)
        return True

    # --- steps -------------------------------------------------------------------------------------------------------

    def next_step(self, now: float) -> StepPlan | None:
        """Schedule one step; None when there is nothing to do, or before the engine is ready."""
        if self._step is not None:
            raise RuntimeError("a step is in progress")
        if now < self.ready_at or not self._sequences:
            return None
        step = _Step()
        self._grow_decodes(step)
        budget = self._continue_prefills(step, self.settings.max_num_batched_tokens - len(self._decoding))
        if not step.preempted:
            self._admit(step, budget, now)
        step.decoding = list(self._decoding.values())
        step.kv_tokens += self._decode_kv_tokens
        if not step.decoding and not step.prefill_tokens:
            return None
        sequences = len(step.decoding) + step.sequences
        seconds = self.coefficients.seconds(step.prefill_tokens, step.kv_tokens, sequences) / self.settings.speed
        step.plan = StepPlan(
            seconds=seconds + step.load_seconds,
            prefill_tokens=step.prefill_tokens,
            decode_tokens=len(step.decoding),
            kv_tokens=step.kv_tokens,
            sequences=sequences,
        )
        self._step = step
        return step.plan

    def finish_step(self, now: float) -> StepOutcome:
        """End the step in progress: every decoding sequence and every completed prefill gets one token."""
        step = self._step
        if step is None or step.plan is None:
            raise RuntimeError("no step is in progress")
        self._step = None
        decoded = [seq for seq in step.decoding if not seq.gone]
        for seq in decoded:
            seq.generated += 1
        first, gaps = self._end_prefills(step.prefilled, now)
        emitted = decoded + [seq for seq in step.prefilled if not seq.gone]
        finished = [self._finish(seq, now) for seq in emitted if seq.generated >= seq.request.output_tokens]
        interval = now - self._last_step_at
        self._last_step_at = now
        return StepOutcome(
            plan=step.plan,
            tokens=tuple([seq.request.id for seq in emitted]),
            decode_tokens=len(decoded),
            decode_interval_seconds=interval,
            first_token_seconds=tuple(first),
            recompute_gap_seconds=tuple(gaps),
            finished=tuple(finished),
            preempted=step.preempted,
            admitted_tokens=step.admitted_tokens,
            cached_tokens=step.cached_tokens,
        )

    def _end_prefills(self, prefilled: Iterable[_Sequence], now: float) -> tuple[list[float], list[float]]:
        """Move completed prefills to decoding; times to first token, and gaps of tokens after a recompute."""
        first: list[float] = []
        gaps: list[float] = []
        for seq in prefilled:
            if seq.gone:
                continue
            seq.generated += 1
            self._decoding[seq.request.id] = seq
            self._decode_kv_tokens += seq.computed
            if seq.first_token_at is None:
                seq.first_token_at = now
                first.append(now - seq.arrived_at)
            else:
                gaps.append(now - seq.last_token_at)
        return first, gaps

    def _finish(self, seq: _Sequence, now: float) -> FinishedRequest:
        del self._sequences[seq.request.id]
        seq.gone = True
        self._leave_batch(seq)
        return FinishedRequest(
            request=seq.request,
            arrived_at=seq.arrived_at,
            scheduled_at=now if seq.scheduled_at is None else seq.scheduled_at,
            first_token_at=now if seq.first_token_at is None else seq.first_token_at,
            finished_at=now,
            cached_tokens=seq.cached_tokens,
            preemptions=seq.preemptions,
        )

    # --- scheduling --------------------------------------------------------------------------------------------------

    def _grow_decodes(self, step: _Step) -> None:
        """Make room for one more token of every decoding sequence."""
        full: list[_Sequence] = []
        for seq in self._decoding.values():
            seq.computed += 1
            if seq.computed > seq.capacity:
                full.append(seq)
        self._decode_kv_tokens += len(self._decoding)
        for seq in full:
            if seq.request.id in self._running:
                self._reserve(seq, 1, step)

    def _continue_prefills(self, step: _Step, budget: int) -> int:
        for seq in list(self._prefilling.values()):
            if budget == 0:
                break
            if seq.request.id not in self._running:
                continue
            tokens = min(seq.target - seq.computed, budget)
            if self._reserve(seq, self._blocks_for(seq, tokens), step):
                self._advance(seq, tokens, step)
                budget -= tokens
        return budget

    def _admit(self, step: _Step, budget: int, now: float) -> None:
        """Move requests from the queue into the batch; one that needs a LoRA slot is passed over, keeping its place."""
        deferred: list[_Sequence] = []
        while self._waiting and budget > 0 and len(self._running) < self.settings.max_num_seqs:
            seq = self._waiting.popleft()
            if not self._lora_fits(seq.request.lora):
                deferred.append(seq)
                continue
            tokens = self._start(seq, budget)
            if tokens == 0:
                self._waiting.appendleft(seq)
                break
            if seq.scheduled_at is None:
                seq.scheduled_at = now
                seq.cached_tokens = seq.computed
                step.admitted_tokens += seq.request.prompt_tokens
                step.cached_tokens += seq.computed
            self._occupy_lora_slot(seq.request.lora, step)
            self._running[seq.request.id] = self._prefilling[seq.request.id] = seq
            self._advance(seq, tokens, step)
            budget -= tokens
        self._waiting.extendleft(reversed(deferred))

    def _start(self, seq: _Sequence, budget: int) -> int:
        """Hold the cached prefix and take blocks for the first chunk; tokens of that chunk, 0 when blocks are short."""
        block_size = self.settings.block_size
        hashes = seq.request.block_hashes
        # At least one token is computed: the last one's logits are needed.
        shared = self.pool.match(hashes, (seq.request.prompt_tokens - 1) // block_size)
        self.pool.hold(hashes[:shared])
        seq.shared, seq.computed, seq.capacity = shared, shared * block_size, shared * block_size
        tokens = min(seq.target - seq.computed, budget)
        blocks = self._blocks_for(seq, tokens)
        if self.pool.take(blocks):
            seq.capacity += blocks * block_size
            return tokens
        self.pool.release(hashes[:shared], 0)
        seq.shared = seq.computed = seq.capacity = 0
        return 0

    def _advance(self, seq: _Sequence, tokens: int, step: _Step) -> None:
        """Account `tokens` of prefill; prompt blocks they complete become shareable at once, as in vLLM."""
        seq.computed += tokens
        step.prefill_tokens += tokens
        step.kv_tokens += seq.computed
        step.sequences += 1
        full = min(seq.computed // self.settings.block_size, len(seq.request.block_hashes))
        full = min(full, seq.request.prompt_tokens // self.settings.block_size)
        if full > seq.shared:
            self.pool.publish(seq.request.block_hashes[seq.shared : full])
            seq.shared = full
        if seq.computed == seq.target:
            del self._prefilling[seq.request.id]
            step.prefilled.append(seq)

    def _blocks_for(self, seq: _Sequence, tokens: int) -> int:
        missing = seq.computed + tokens - seq.capacity
        return max(0, -(-missing // self.settings.block_size))

    def _reserve(self, seq: _Sequence, blocks: int, step: _Step) -> bool:
        """Take blocks for a running sequence, preempting the latest admitted until they fit; False: it went itself."""
        while not self.pool.take(blocks):
            victim = self._running[next(reversed(self._running))]
            self._preempt(victim)
            step.preempted += 1
            if victim is seq:
                return False
        seq.capacity += blocks * self.settings.block_size
        return True

    def _preempt(self, seq: _Sequence) -> None:
        if seq.request.id in self._decoding:
            seq.last_token_at = self._last_step_at
        self._leave_batch(seq)
        seq.target = seq.request.prompt_tokens + seq.generated
        seq.preemptions += 1
        self._waiting.appendleft(seq)

    def _leave_batch(self, seq: _Sequence) -> None:
        request = seq.request
        del self._running[request.id]
        if self._decoding.pop(request.id, None) is not None:
            self._decode_kv_tokens -= seq.computed
        self._prefilling.pop(request.id, None)
        private = seq.capacity // self.settings.block_size - seq.shared
        self.pool.release(request.block_hashes[: seq.shared], private)
        seq.shared = seq.computed = seq.capacity = 0
        if request.lora is not None:
            self._lora_running[request.lora] -= 1
            if not self._lora_running[request.lora]:
                del self._lora_running[request.lora]

    # --- LoRA slots --------------------------------------------------------------------------------------------------

    def _lora_fits(self, lora: str | None) -> bool:
        return lora is None or lora in self._lora_running or len(self._lora_running) < self.settings.max_loras

    def _occupy_lora_slot(self, lora: str | None, step: _Step) -> None:
        if lora is None:
            return
        self._lora_running[lora] = self._lora_running.get(lora, 0) + 1
        if lora not in self._lora_slots:
            step.load_seconds += self.settings.lora_load_seconds
            if len(self._lora_slots) == self.settings.max_loras:
                idle = next(name for name in self._lora_slots if name not in self._lora_running)
                del self._lora_slots[idle]
            self._lora_slots[lora] = None
        self._lora_slots.move_to_end(lora)
