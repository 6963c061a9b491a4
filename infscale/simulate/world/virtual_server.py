"""A simulated model server in virtual time: its engine, what it recorded, what it has under way, its faults."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from infscale.metrics.sample import EngineSample
from infscale.sim.engine.batching import Engine
from infscale.sim.engine.recorder import Recorder
from infscale.sim.engine.steps import EngineRequest, FinishedRequest, StepOutcome
from infscale.sim.settings import Fault, FaultKind
from infscale.simulate.scenario import ServerKind
from infscale.simulate.world.engine_sampling import EngineSampler, SampledServer
from infscale.simulate.world.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from random import Random

OK: Final = 200
EPOCH: Final = 1.7e9
"""The second of Unix time at which runs begin."""
_BUSY: Final = 429
_BAD_REQUEST: Final = 400
_UNAVAILABLE: Final = 503


class Answering(Protocol):
    """What a server tells of a request that it took; called while it happens at the server."""

    def whole(self, number: int, done: FinishedRequest) -> None:
        """Request `number` got all its tokens."""
        ...

    def cut(self, number: int) -> None:
        """The connection of request `number` was cut."""
        ...


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """Which server it is, and what kind of server."""

    number: int
    name: str
    authority: str
    kind: ServerKind


@dataclass(slots=True)
class _Work:
    """What a process of a server has: all of it is gone with the process."""

    engine: Engine
    recorder: Recorder
    sampler: EngineSampler
    under_way: set[int] = field(default_factory=set[int])
    dying: dict[int, int] = field(default_factory=dict[int, int])
    """Tokens that are left of the requests that will be cut."""
    stepping: bool = False


class VirtualServer:
    """One server; owner of its process and of the faults it has."""

    def __init__(
        self,
        identity: ServerIdentity,
        clock: VirtualClock,
        rng: "Random",
        tell: Answering,
        form: Callable[[ServerKind, float], SampledServer],
    ) -> None:
        self.identity = identity
        self.started_at = clock.now
        self.ended_at: float | None = None
        self.faults: dict[FaultKind, Fault] = {}
        self.busy_seconds = 0.0
        """Of the processes before this one."""
        self._clock = clock
        self._rng = rng
        self._tell = tell
        self._form = form
        self._hung: set[int] = set()
        self._frozen: EngineSample | None = None
        self.ready_at = clock.now
        self._work = self._process(0.0)

    def start(self, seconds: float) -> None:
        """Begin anew, ready in so many `seconds`: nothing of before is left."""
        self.cut_all()
        self.busy_seconds += self._work.recorder.busy_seconds
        self._frozen = None
        self._work = self._process(seconds)

    def _process(self, seconds: float) -> _Work:
        kind, clock = self.identity.kind, self._clock
        settings = kind.settings(seconds)
        self.ready_at = clock.now + seconds
        engine = Engine(settings, kind.coefficients.steps, clock.now)
        recorder = Recorder(settings.capacity_tokens)
        return _Work(engine, recorder, EngineSampler(self._form(kind, EPOCH + clock.now), engine, recorder))

    # --- what others see ----------------------------------------------------------------------------------------------

    @property
    def engine(self) -> Engine:
        """The engine of the process that runs."""
        return self._work.engine

    @property
    def recorder(self) -> Recorder:
        """What the process that runs has recorded."""
        return self._work.recorder

    @property
    def total_busy_seconds(self) -> float:
        """How long its GPUs worked since it began."""
        return self.busy_seconds + self._work.recorder.busy_seconds

    @property
    def under_way(self) -> int:
        """How many requests it has."""
        return len(self._work.under_way) + len(self._hung)

    @property
    def ready(self) -> bool:
        """Whether it has loaded its model."""
        return self.ended_at is None and self._clock.now >= self.ready_at

    @property
    def listening(self) -> bool:
        """Whether it accepts connections: vLLM opens its port when the model is loaded."""
        return self.ready and FaultKind.REFUSE not in self.faults

    def sample(self) -> EngineSample:
        """What its metrics page says."""
        if self._frozen is not None:
            return self._frozen
        faults = self.faults
        return self._work.sampler.sample(idle=FaultKind.LIE in faults, asleep=FaultKind.SLEEP in faults)

    # --- requests -----------------------------------------------------------------------------------------------------

    def submit(self, number: int, request: EngineRequest) -> int | None:
        """Take a request; the status of its answer, whose tokens follow where it is 200. None: it never answers."""
        if FaultKind.HANG in self.faults:
            self._hung.add(number)
            return None
        broken = self._struck(FaultKind.ERROR)
        if broken is not None:
            return broken.status
        if FaultKind.SLEEP in self.faults:
            return _UNAVAILABLE
        work = self._work
        dying = self._struck(FaultKind.DIE)
        if request.prompt_tokens + request.output_tokens > work.engine.settings.capacity_tokens:
            return _BAD_REQUEST
        if work.engine.submit(request, self._clock.now) is not None:
            work.recorder.rejections += 1
            return _BUSY
        work.under_way.add(number)
        if dying is not None:
            work.dying[number] = dying.after_tokens
        self._wake(work)
        return OK

    def abort(self, number: int) -> None:
        """Nobody waits for this answer any more."""
        work = self._work
        self._hung.discard(number)
        if number in work.under_way:
            work.under_way.discard(number)
            work.dying.pop(number, None)
            if work.engine.abort(number):
                work.recorder.finished["abort"] += 1

    def cut_all(self) -> None:
        """End every connection."""
        for number in sorted([*self._work.under_way, *self._hung]):
            self.abort(number)
            self._tell.cut(number)

    # --- faults -------------------------------------------------------------------------------------------------------

    def add_fault(self, fault: Fault) -> None:
        """Misbehave from now on."""
        if fault.kind is FaultKind.FREEZE_METRICS:
            self._frozen = self.sample()
        elif fault.kind is FaultKind.SLOW_START:
            self.start(float("inf") if fault.seconds is None else fault.seconds)
        elif fault.kind is FaultKind.REFUSE:
            self.cut_all()
        self.faults[fault.kind] = fault

    def remove_fault(self, fault: Fault) -> None:
        """Behave again."""
        if self.faults.get(fault.kind) is not fault:
            return
        del self.faults[fault.kind]
        if fault.kind is FaultKind.FREEZE_METRICS:
            self._frozen = None
        elif fault.kind is FaultKind.HANG:
            for number in sorted(self._hung):
                self._hung.discard(number)
                self._tell.cut(number)

    def _struck(self, kind: FaultKind) -> Fault | None:
        """The fault of this kind if it hits this request."""
        fault = self.faults.get(kind)
        return fault if fault is not None and self._rng.uniform(0.0, 1.0) <= fault.ratio else None

    # --- steps --------------------------------------------------------------------------------------------------------

    def _wake(self, work: _Work) -> None:
        if not work.stepping:
            work.stepping = True
            # Not within this call: requests that arrive together start in one step.
            self._clock.after(0.0, self._begin, work)

    def _begin(self, work: _Work) -> None:
        if work is not self._work:
            return
        plan = work.engine.next_step(self._clock.now)
        if plan is None:
            work.stepping = False
        else:
            self._clock.after(plan.seconds, self._finish, work)

    def _finish(self, work: _Work) -> None:
        if work is not self._work:
            return
        outcome = work.engine.finish_step(self._clock.now)
        work.recorder.record_step(outcome)
        if work.dying:
            self._die(work, outcome)
        for done in outcome.finished:
            number = done.request.id
            work.recorder.record_finished(done, "length", done.request.output_tokens)
            if number in work.under_way:
                work.under_way.discard(number)
                self._tell.whole(number, done)
        self._begin(work)

    def _die(self, work: _Work, outcome: StepOutcome) -> None:
        for number in outcome.tokens:
            left = work.dying.get(number)
            if left is None:
                continue
            if left == 0:
                self.abort(number)
                # Of one that ended in this very step nothing is left to abort.
                work.under_way.discard(number)
                work.dying.pop(number, None)
                self._tell.cut(number)
            else:
                work.dying[number] = left - 1
