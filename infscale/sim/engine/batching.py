"""One engine of a model server: continuous batching over a KV cache, driven by the clock it is given.

The scheduler is vLLM's: decodes first, then prefills in chunks within a token budget, then admissions in arrival order;
at full KV cache the request admitted last is preempted and recomputed later. A driver calls `next_step(now)`, waits for
the plan's duration (in real or virtual time) and calls `finish_step(now)`. Outputs have a given length: what a request
says is of no interest here, only how long it takes.
"""

from collections import OrderedDict, deque
from collections.abc import Iterable

from infscale.latency.step_model import StepModel
from infscale.sim.engine.kv import BlockPool
from infscale.sim.engine.sequences import DecodeBatch, EngineSequence
from infscale.sim.engine.steps import (
    EngineRequest,
    EngineSettings,
    FinishedRequest,
    Refusal,
    StepOutcome,
    StepPlan,
)


class _Step:
    """The step in progress, made by `Engine.next_step`."""

    __slots__ = (
        "admitted_tokens",
        "cached_tokens",
        "kv_tokens",
        "load_seconds",
        "plan",
        "preempted",
        "prefill_tokens",
        "prefilled",
        "sequences",
    )

    def __init__(self) -> None:
        self.prefilled: list[EngineSequence] = []
        self.sequences = 0
        self.prefill_tokens = 0
        self.kv_tokens = 0
        self.load_seconds = 0.0
        self.preempted = 0
        self.admitted_tokens = 0
        self.cached_tokens = 0
        self.plan: StepPlan | None = None


class _Blocked:
    """Why the head of the queue could not start: what it found in the cache, good until `changes` of that are more.

    Of its `shared` leading blocks `idle` are held by no sequence; they were used last, so that all others go before.
    """

    __slots__ = ("changes", "idle", "seq", "shared")

    def __init__(self, seq: EngineSequence, shared: int, idle: int, changes: int) -> None:
        self.seq = seq
        self.shared = shared
        self.idle = idle
        self.changes = changes


class Engine:
    """The scheduler and KV cache of one engine; `created_at` is the driver's clock when start-up begins."""

    def __init__(self, settings: EngineSettings, coefficients: StepModel, created_at: float = 0.0) -> None:
        self.settings = settings
        self.coefficients = coefficients
        self.ready_at = created_at + settings.startup_seconds
        self.pool = BlockPool(settings.num_blocks)
        self._waiting: deque[EngineSequence] = deque()
        self._running: dict[int, EngineSequence] = {}
        self._decoding = DecodeBatch(settings.block_size)
        self._prefilling: dict[int, EngineSequence] = {}
        self._sequences: dict[int, EngineSequence] = {}
        self._lora_slots: OrderedDict[str, None] = OrderedDict()
        self._lora_running: dict[str, int] = {}
        self._blocked: _Blocked | None = None
        self._settled = False
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
        return self._decoding.kv_tokens + sum([seq.computed for seq in self._prefilling.values()])

    def prefilling(self) -> list[tuple[EngineRequest, int]]:
        """Requests of the batch whose prompts are not whole, in order, each with the tokens to compute.

        What the step in progress computes is not among these.
        """
        return [(seq.request, seq.target - seq.computed) for seq in self._prefilling.values()]

    def queued(self) -> list[tuple[EngineRequest, int]]:
        """Requests in the queue, in order, each with the tokens that prefill must reach, cached ones among them."""
        return [(seq.request, seq.target) for seq in self._waiting]

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
        seq = EngineSequence(request, now)
        self._sequences[request.id] = seq
        self._waiting.append(seq)
        self._settled = False
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
            self._settled = False
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
        decodes = len(self._decoding)
        if not decodes and not step.prefill_tokens:
            return None
        kv_tokens, sequences = step.kv_tokens + self._decoding.kv_tokens, step.sequences + decodes
        seconds = self._seconds(step.prefill_tokens, kv_tokens, sequences) + step.load_seconds
        step.plan = StepPlan(seconds, step.prefill_tokens, decodes, kv_tokens, sequences)
        self._step = step
        return step.plan

    def finish_step(self, now: float) -> StepOutcome:
        """End the step in progress: every decoding sequence and every completed prefill gets one token."""
        step = self._step
        if step is None or step.plan is None:
            raise RuntimeError("no step is in progress")
        self._step = None
        decoded = self._decoding.ids
        ending = list(self._decoding.end())
        prefilled = [seq for seq in step.prefilled if not seq.gone]
        first = tuple([seq.request.id for seq in prefilled if seq.first_token_at is None])
        first_seconds, gaps = self._end_prefills(prefilled, now)
        ending += [seq for seq in prefilled if seq.generated >= seq.request.output_tokens]
        finished = [self._finish(seq, now) for seq in ending]
        interval = now - self._last_step_at
        self._last_step_at = now
        return StepOutcome(
            plan=step.plan,
            tokens=decoded + tuple([seq.request.id for seq in prefilled]) if prefilled else decoded,
            decode_tokens=len(decoded),
            decode_interval_seconds=interval,
            first_token_seconds=tuple(first_seconds),
            recompute_gap_seconds=tuple(gaps),
            finished=tuple(finished),
            preempted=step.preempted,
            admitted_tokens=step.admitted_tokens,
            cached_tokens=step.cached_tokens,
            first_tokens=first,
        )

    # --- steps in which nothing happens but tokens -------------------------------------------------------------------

    def quiet_steps(self) -> int:
        """How many next steps give one token to every sequence of the batch, and no request starts, ends or leaves.

        As long as nothing is submitted or aborted, each of them may be a `begin_quiet_step` and `end_quiet_step` in
        place of `next_step` and `finish_step`: the same, without plan and outcome.
        """
        if self._prefilling or self._step is not None or (self._waiting and not self._settled):
            return 0
        # The head of the queue goes on waiting: fewer blocks are free in each of these steps, and it needs no fewer.
        return self._decoding.steps_without_end(self.pool.available)

    def quiet_end(self, now: float, steps: int) -> float:
        """When `steps` quiet steps are over that begin at `now`, by the very sums that the steps make one by one."""
        kv_tokens, sequences = self._decoding.kv_tokens, len(self._decoding)
        for _ in range(steps):
            kv_tokens += sequences
            now += self._seconds(0, kv_tokens, sequences)
        return now

    def begin_quiet_step(self) -> float:
        """Begin one of `quiet_steps`; how many seconds it takes."""
        if not self.pool.take(self._decoding.begin()):
            raise RuntimeError("this step is none of the quiet ones")
        return self._seconds(0, self._decoding.kv_tokens, len(self._decoding))

    def end_quiet_step(self, now: float) -> tuple[int, float]:
        """End it: how many sequences got a token, and after how many seconds."""
        self._decoding.end()
        interval = now - self._last_step_at
        self._last_step_at = now
        return len(self._decoding), interval

    def _end_prefills(self, prefilled: Iterable[EngineSequence], now: float) -> tuple[list[float], list[float]]:
        """Move completed prefills to decoding; times to first token, and gaps of tokens after a recompute."""
        first: list[float] = []
        gaps: list[float] = []
        for seq in prefilled:
            seq.generated += 1
            self._decoding.join(seq)
            self._settled = False
            if seq.first_token_at is None:
                seq.first_token_at = now
                first.append(now - seq.arrived_at)
            else:
                gaps.append(now - seq.last_token_at)
        return first, gaps

    def _finish(self, seq: EngineSequence, now: float) -> FinishedRequest:
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

    def _seconds(self, prefill_tokens: int, kv_tokens: int, sequences: int) -> float:
        return self.coefficients.seconds(prefill_tokens, kv_tokens, sequences) / self.settings.speed

    def _grow_decodes(self, step: _Step) -> None:
        """Make room for one more token of every decoding sequence."""
        needed = self._decoding.begin()
        if self.pool.take(needed):
            return
        short = self._decoding.short()
        for seq in short:
            seq.owes_block = True
        for seq in short:
            # One that was preempted for another owes nothing any more.
            if seq.owes_block and self._reserve(seq, 1, step):
                seq.owes_block = False

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
        self._settled = True
        deferred: list[EngineSequence] = []
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
            self._settled = False
        self._waiting.extendleft(reversed(deferred))

    def _start(self, seq: EngineSequence, budget: int) -> int:
        """Hold the cached prefix and take blocks for the first chunk; tokens of that chunk, 0 when blocks are short."""
        pool, block_size, blocked = self.pool, self.settings.block_size, self._blocked
        if blocked is not None and blocked.seq is seq and blocked.changes == pool.changes and blocked.idle <= pool.idle:
            tokens = min(seq.target - blocked.shared * block_size, budget)
            if -(-tokens // block_size) > pool.available - blocked.idle:
                return 0
        # At least one token is computed: the last one's logits are needed.
        prefix = pool.match(seq.request.block_hashes, (seq.request.prompt_tokens - 1) // block_size)
        shared, idle = len(prefix), pool.idle
        pool.hold(prefix)
        tokens = min(seq.target - shared * block_size, budget)
        if pool.take(-(-tokens // block_size)):
            self._blocked = None
            seq.shared, seq.computed = prefix, shared * block_size
            return tokens
        idle -= pool.idle
        pool.release(prefix, 0)
        self._blocked = _Blocked(seq, shared, idle, pool.changes)
        return 0

    def _advance(self, seq: EngineSequence, tokens: int, step: _Step) -> None:
        """Account `tokens` of prefill; prompt blocks they complete become shareable at once, as in vLLM."""
        seq.computed += tokens
        step.prefill_tokens += tokens
        step.kv_tokens += seq.computed
        step.sequences += 1
        full = min(seq.computed // self.settings.block_size, len(seq.request.block_hashes))
        full = min(full, seq.request.prompt_tokens // self.settings.block_size)
        if full > len(seq.shared):
            seq.shared += self.pool.publish(seq.request.block_hashes[len(seq.shared) : full])
        if seq.computed == seq.target:
            del self._prefilling[seq.request.id]
            step.prefilled.append(seq)

    def _blocks_for(self, seq: EngineSequence, tokens: int) -> int:
        block_size = self.settings.block_size
        return -(-(seq.computed + tokens) // block_size) + -seq.computed // block_size

    def _reserve(self, seq: EngineSequence, blocks: int, step: _Step) -> bool:
        """Take blocks for a running sequence, preempting the latest admitted until they fit; False: it went itself."""
        while not self.pool.take(blocks):
            victim = self._running[next(reversed(self._running))]
            self._preempt(victim)
            step.preempted += 1
            if victim is seq:
                return False
        return True

    def _preempt(self, seq: EngineSequence) -> None:
        if self._leave_batch(seq):
            seq.last_token_at = self._last_step_at
        seq.target = seq.request.prompt_tokens + seq.generated
        seq.preemptions += 1
        self._waiting.appendleft(seq)

    def _leave_batch(self, seq: EngineSequence) -> bool:
        """Give back what a running sequence holds; whether it was decoding."""
        request = seq.request
        del self._running[request.id]
        self._prefilling.pop(request.id, None)
        decoded = self._decoding.leave(seq)
        held = -(-seq.computed // self.settings.block_size) - (1 if seq.owes_block else 0)
        self.pool.release(seq.shared, held - len(seq.shared))
        seq.shared, seq.computed = [], 0
        seq.owes_block = self._settled = False
        if request.lora is not None:
            self._lora_running[request.lora] -= 1
            if not self._lora_running[request.lora]:
                del self._lora_running[request.lora]
        return decoded

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
