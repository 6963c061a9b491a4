"""Runs an engine in virtual time: a caller learns when the next thing happens that it wants to know of.

Steps that only give tokens to the same sequences pass without an event, and their sums are the same as one by one.
"""

import enum

from infscale.sim.engine.batching import Engine
from infscale.sim.engine.recorder import Recorder
from infscale.sim.engine.steps import EngineRequest, FinishedRequest, Refusal

_NEVER = float("inf")
_ABORT = "abort"


class _Doing(enum.Enum):
    NOTHING = "nothing"
    QUIET_STEP = "quiet step"
    STEP = "step"


class Progress:
    """What happened in `VirtualEngine.advance`: first tokens as ``(id, time)``, and finished requests, in order."""

    __slots__ = ("finished", "first_tokens")

    def __init__(self) -> None:
        self.first_tokens: list[tuple[int, float]] = []
        self.finished: list[FinishedRequest] = []


class VirtualEngine:
    """An engine whose steps are taken when its caller's clock is moved on; `recorder` is what its page shows.

    Call `advance(now)` at `wake_at`, and at any time before when the engine's numbers are wanted. `submit` and
    `abort` are for the time that `advance` was called with last. `wake_at` is the next time at which a request can
    start, get its first token or end; inf while there is nothing to do. At such a time it may be that nothing happens.
    """

    def __init__(self, engine: Engine, recorder: Recorder) -> None:
        self.engine = engine
        self.recorder = recorder
        self.wake_at = _NEVER
        self.prefills_until = -_NEVER
        """When the last step ends, or ended, that computes something of a prompt."""
        self._doing = _Doing.NOTHING
        self._due = _NEVER
        self._quiet_left = 0
        self._seconds = 0.0
        self._open: dict[int, tuple[str, int | None]] = {}

    def submit(
        self, request: EngineRequest, now: float, finish_reason: str = "length", max_tokens_asked: int | None = None
    ) -> Refusal | None:
        """Queue a request; None when taken. Requests of one time start in one step: that of ``advance(now)``.

        `finish_reason` and `max_tokens_asked` go to the recorder when it finishes; of one whose reason is ``abort`` the
        client goes away with the last token.
        """
        refusal = self.engine.submit(request, now)
        if refusal is not None:
            self.recorder.rejections += 1
            return refusal
        self._open[request.id] = (finish_reason, max_tokens_asked)
        if self._doing is _Doing.NOTHING:
            self._due = max(now, self.engine.ready_at)
        self._rethink()
        return None

    def abort(self, request_id: int) -> bool:
        """Drop a request wherever it is; False if it is not here."""
        if self._open.pop(request_id, None) is None or not self.engine.abort(request_id):
            return False
        self.recorder.finished[_ABORT] += 1
        self._rethink()
        return True

    def advance(self, now: float) -> Progress:
        """Take every step that ends by `now`, and begin the one after; what happened in them."""
        progress = Progress()
        while self._due <= now:
            at = self._due
            if self._doing is _Doing.QUIET_STEP:
                tokens, interval = self.engine.end_quiet_step(at)
                self.recorder.record_decode(self._seconds, tokens, interval)
            elif self._doing is _Doing.STEP:
                self._finish_step(at, progress)
            self._begin(at)
        return progress

    def _rethink(self) -> None:
        """The step in progress goes on; those planned after it are off."""
        self._quiet_left = 0
        self.wake_at = self._due

    def _begin(self, now: float) -> None:
        if not self._quiet_left:
            self._quiet_left = self.engine.quiet_steps()
            if not self._quiet_left:
                self._begin_step(now)
                return
            self.wake_at = self.engine.quiet_end(now, self._quiet_left)
        self._quiet_left -= 1
        self._seconds = self.engine.begin_quiet_step()
        self._doing = _Doing.QUIET_STEP
        self._due = now + self._seconds

    def _begin_step(self, now: float) -> None:
        plan = self.engine.next_step(now)
        if plan is None:
            self._doing = _Doing.NOTHING
            ready_at = self.engine.ready_at
            self._due = ready_at if ready_at > now and self.engine.waiting else _NEVER
        else:
            self._doing = _Doing.STEP
            self._due = now + plan.seconds
            if plan.prefill_tokens:
                self.prefills_until = self._due
        self.wake_at = self._due

    def _finish_step(self, now: float, progress: Progress) -> None:
        outcome = self.engine.finish_step(now)
        self.recorder.record_step(outcome)
        for request_id in outcome.first_tokens:
            progress.first_tokens.append((request_id, now))
        for done in outcome.finished:
            reason, asked = self._open.pop(done.request.id)
            if reason == _ABORT:
                self.recorder.finished[_ABORT] += 1
            else:
                self.recorder.record_finished(done, reason, asked)
            progress.finished.append(done)
