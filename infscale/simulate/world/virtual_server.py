"""A simulated model server in virtual time: its engine, what it recorded, what it has under way, its faults."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from infscale.metrics.sample import EngineSample
from infscale.sim.engine.batching import Engine
from infscale.sim.engine.recorder import Recorder
from infscale.sim.engine.steps import EngineRequest, FinishedRequest
from infscale.sim.engine.virtual_engine import VirtualEngine
from infscale.sim.settings import Fault, FaultKind
from infscale.simulate.scenario import ServerKind
from infscale.simulate.world.engine_sampling import EngineSampler, SampledServer
from infscale.simulate.world.virtual_clock import VirtualClock

if TYPE_CHECKING:
    from random import Random

OK: Final = 200
EPOCH: Final = 1.7e9
"""The second of Unix time at which runs begin."""
_ABORT: Final = "abort"
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
    """What a process of a server has: all of it is gone with the process.

    `cutting` are the requests under way that will be cut. `wakes_at` is when the engine is looked at next.
    """

    engine: VirtualEngine
    sampler: EngineSampler
    under_way: set[int] = field(default_factory=set[int])
    cutting: set[int] = field(default_factory=set[int])
    wakes_at: float = math.inf


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
        self.busy_seconds += self.recorder.busy_seconds
        self._frozen = None
        self._work = self._process(seconds)

    def _process(self, seconds: float) -> _Work:
        kind, clock = self.identity.kind, self._clock
        settings = kind.settings(seconds)
        self.ready_at = clock.now + seconds
        engine = Engine(settings, kind.coefficients.steps, clock.now)
        recorder = Recorder(settings.capacity_tokens)
        sampler = EngineSampler(self._form(kind, EPOCH + clock.now), engine, recorder)
        return _Work(VirtualEngine(engine, recorder), sampler)

    # --- what others see ----------------------------------------------------------------------------------------------

    @property
    def engine(self) -> Engine:
        """The engine of the process that runs, as it was last looked at."""
        return self._work.engine.engine

    def looked_at(self) -> VirtualEngine:
        """The engine of the process that runs, at this moment."""
        self._look(self._work)
        return self._work.engine

    @property
    def recorder(self) -> Recorder:
        """What the process that runs has recorded."""
        return self._work.engine.recorder

    @property
    def total_busy_seconds(self) -> float:
        """How long its GPUs worked since it began."""
        return self.busy_seconds + self.recorder.busy_seconds

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
        self._look(self._work)
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
        work, dying = self._work, self._struck(FaultKind.DIE)
        if request.prompt_tokens + request.output_tokens > self.engine.settings.capacity_tokens:
            return _BAD_REQUEST
        reason, asked = "length", request.output_tokens
        if dying is not None and request.output_tokens > dying.after_tokens:
            # With one token more the client sees the end of its connection instead.
            reason, request = _ABORT, replace(request, output_tokens=dying.after_tokens + 1)
        self._look(work)
        if work.engine.submit(request, self._clock.now, reason, asked) is not None:
            return _BUSY
        work.under_way.add(number)
        if reason == _ABORT:
            work.cutting.add(number)
        self._wake(work)
        return OK

    def abort(self, number: int) -> None:
        """The client waits for this answer no longer."""
        work = self._work
        self._hung.discard(number)
        self._look(work)
        if number in work.under_way:
            work.under_way.discard(number)
            work.cutting.discard(number)
            work.engine.abort(number)
            self._wake(work)

    def cut_all(self) -> None:
        """End every connection."""
        self._look(self._work)
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
        """Look at the engine when something may happen in it."""
        at = work.engine.wake_at
        if at != work.wakes_at:
            work.wakes_at = at
            if at != math.inf:
                self._clock.at(at, self._woken, (work, at))

    def _woken(self, due: tuple[_Work, float]) -> None:
        work, at = due
        if work is self._work and at == work.wakes_at:
            work.wakes_at = math.inf
            self._look(work)
            self._wake(work)

    def _look(self, work: _Work) -> None:
        """Bring the engine to this moment, and tell what has ended in it."""
        for done in work.engine.advance(self._clock.now).finished:
            number = done.request.id
            work.under_way.discard(number)
            if number in work.cutting:
                work.cutting.discard(number)
                self._tell.cut(number)
            else:
                self._tell.whole(number, done)
