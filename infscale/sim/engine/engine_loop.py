"""Runs an engine in real time: one timer per step, however many requests are in the batch."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from infscale.sim.engine.batching import Engine
from infscale.sim.engine.recorder import Recorder
from infscale.sim.engine.steps import EngineRequest, FinishedRequest, Refusal

TokenSink = Callable[[FinishedRequest | None], None]
"""Takes one more token of a request; with the last one comes what the engine knows of the whole request.

It is called on the event loop, must not block or raise."""


@dataclass(frozen=True, slots=True)
class _Open:
    """An unfinished request: where its tokens go, and what the recorder wants to know at its end."""

    sink: TokenSink
    finish_reason: str
    max_tokens_asked: int | None


class EngineLoop:
    """Steps `engine` on the running event loop whenever it has work, and hands every token to its request's sink."""

    def __init__(self, engine: Engine, recorder: Recorder, loop: asyncio.AbstractEventLoop) -> None:
        self.engine = engine
        self.recorder = recorder
        self._loop = loop
        self._open: dict[int, _Open] = {}
        self._timer: asyncio.TimerHandle | asyncio.Handle | None = None

    @property
    def load(self) -> int:
        """Requests waiting or running."""
        return self.engine.waiting + self.engine.running

    def submit(
        self, request: EngineRequest, sink: TokenSink, finish_reason: str, max_tokens_asked: int | None
    ) -> Refusal | None:
        """Queue a request; None when taken. Reason and asked length go to the recorder when it finishes."""
        refusal = self.engine.submit(request, self._loop.time())
        if refusal is not None:
            self.recorder.rejections += 1
            return refusal
        self._open[request.id] = _Open(sink, finish_reason, max_tokens_asked)
        if self._timer is None:
            # Not within this call: requests that arrive together start in one step.
            self._timer = self._loop.call_at(max(self.engine.ready_at, self._loop.time()), self._start)
        return None

    def abort(self, request_id: int) -> None:
        """Drop a request that has not finished; one that has is left alone."""
        if self._open.pop(request_id, None) is not None and self.engine.abort(request_id):
            self.recorder.finished["abort"] += 1

    def stop(self) -> None:
        """Take no further step."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _start(self) -> None:
        now = self._loop.time()
        plan = self.engine.next_step(now)
        self._timer = None if plan is None else self._loop.call_at(now + plan.seconds, self._finish)

    def _finish(self) -> None:
        outcome = self.engine.finish_step(self._loop.time())
        self.recorder.record_step(outcome)
        for done in outcome.finished:
            ended = self._open[done.request.id]
            self.recorder.record_finished(done, ended.finish_reason, ended.max_tokens_asked)
        finished = {done.request.id: done for done in outcome.finished}
        for request_id in outcome.tokens:
            last = finished.get(request_id)
            one = self._open[request_id] if last is None else self._open.pop(request_id)
            one.sink(last)
        self._start()
