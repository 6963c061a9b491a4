"""What a model server is without its sockets: engines, what they recorded, LoRA adapters, pages and active faults."""

import asyncio
import random
import time
from collections.abc import Callable, Collection
from dataclasses import replace

from infscale.sim.engine.batching import Engine
from infscale.sim.engine.engine_loop import EngineLoop, TokenSink
from infscale.sim.engine.recorder import HttpRecorder, Recorder
from infscale.sim.engine.steps import EngineRequest, EngineSettings, Refusal
from infscale.sim.http.completions import ApiError, CompletionCall, bad_request
from infscale.sim.pages.engine_pages import PageSubject
from infscale.sim.pages.families import Page, PageView, RankView
from infscale.sim.pages.gpu_page import GpuMeter, gpu_page
from infscale.sim.pages.page_skins import page_for
from infscale.sim.pages.vllm_table import SERVED_PATHS
from infscale.sim.settings import Fault, FaultKind, SimServerSettings


class Replica:
    """The state behind one server, started when constructed; belongs to `loop`. `wall` gives Unix time."""

    def __init__(
        self,
        settings: SimServerSettings,
        rng: random.Random,
        wall: Callable[[], float],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.settings = settings
        self.loras = dict.fromkeys(settings.loras, "")
        self.faults: dict[FaultKind, Fault] = {}
        self._rng = rng
        self._wall = wall
        self._loop = loop
        self._next_id = 0
        self._frozen: Page | None = None
        self._hung: set[asyncio.Future[None]] = set()
        self.restart(settings.engine.startup_seconds)

    def restart(self, startup_seconds: float) -> None:
        """Fresh engines and counters, ready after `startup_seconds`; what was under way is forgotten."""
        settings = self.settings
        limits = replace(settings.engine, startup_seconds=startup_seconds)
        self.created_at = self._loop.time()
        self.ready_at = self.created_at + startup_seconds
        self.ranks = [self._rank(limits) for _ in range(settings.ranks)]
        self.http = HttpRecorder(SERVED_PATHS)
        gpu = settings.coefficients
        self._gpus = GpuMeter((settings.namespace, settings.name), gpu.gpu_model, gpu.gpus, gpu.memory_bytes)
        subject = PageSubject(
            model=settings.served_model,
            ranks=settings.ranks,
            block_size=limits.block_size,
            num_blocks=limits.num_blocks,
            token_limit=settings.context_tokens,
            max_loras=limits.max_loras,
            started_at=self._wall(),
        )
        self._page = page_for(settings.skin, subject)

    def _rank(self, limits: EngineSettings) -> EngineLoop:
        engine = Engine(limits, self.settings.coefficients.steps, created_at=self.created_at)
        return EngineLoop(engine, Recorder(self.settings.context_tokens), self._loop)

    @property
    def ready(self) -> bool:
        """Whether start-up is over."""
        return self._loop.time() >= self.ready_at

    def now(self) -> float:
        """The loop's clock."""
        return self._loop.time()

    def created(self) -> int:
        """Unix time in whole seconds, as answers carry it."""
        return int(self._wall())

    def new_id(self) -> str:
        """A fresh request id, without its prefix."""
        return f"{self._rng.getrandbits(128):032x}"

    def stop(self) -> None:
        """Take no further step and let go of hung requests."""
        for rank in self.ranks:
            rank.stop()
        self.release_hung()

    # --- requests ----------------------------------------------------------------------------------------------------

    def submit(self, call: CompletionCall, sink: TokenSink) -> tuple[EngineLoop, int]:
        """Queue a request on the least loaded rank; the rank and the id to abort it by. Raises `ApiError`."""
        lora = self._lora_of(call.model)
        limit = self.settings.context_tokens
        output = call.output_tokens(min(self.settings.default_output_tokens, max(1, limit - call.prompt_tokens)))
        if call.prompt_tokens + output > limit:
            raise bad_request(
                f"This model's maximum context length is {limit} tokens. However, you requested "
                f"{call.prompt_tokens + output} tokens ({call.prompt_tokens} in the messages, {output} in the "
                "completion). Please reduce the length of the messages or completion."
            )
        self._next_id += 1
        hashes = call.block_hashes(self.settings.engine.block_size, lora or "")
        request = EngineRequest(self._next_id, call.prompt_tokens, output, hashes, lora)
        rank = min(self.ranks, key=lambda rank: rank.load)
        refusal = rank.submit(request, sink, call.finish_reason, call.max_tokens)
        if refusal is Refusal.QUEUE_FULL:
            raise ApiError(429, "TooManyRequests", "The waiting queue is full; try again later.")
        if refusal is not None:
            raise bad_request(f"{refusal.value}: shorten them")
        return rank, request.id

    def _lora_of(self, model: str) -> str | None:
        if model == self.settings.served_model:
            return None
        if model not in self.loras:
            raise ApiError(404, "NotFoundError", f"The model `{model}` does not exist.", "model")
        return model

    # --- pages -------------------------------------------------------------------------------------------------------

    def metrics_page(self, names: Collection[str]) -> str:
        """The metrics page, or the named part of it."""
        view = self._view()
        return (self._frozen or self._page).render(view, names)

    def statistics(self) -> list[dict[str, int]]:
        """Requests of each engine now, in TensorRT-LLM's words."""
        ranks = self._view().ranks
        return [{"numActiveRequests": rank.running, "numQueuedRequests": rank.waiting} for rank in ranks]

    def gpu_page(self) -> str:
        """The dcgm-exporter page of this server's GPUs."""
        now = self._loop.time()
        started = 1.0 if now >= self.ready_at else (now - self.created_at) / (self.ready_at - self.created_at)
        busy = max(rank.recorder.busy_seconds for rank in self.ranks)
        return gpu_page(self._gpus.read(now, busy, started))

    def _view(self) -> PageView:
        asleep = FaultKind.SLEEP in self.faults
        look = _idle_view if FaultKind.LIE in self.faults else _true_view
        return PageView(tuple(look(rank) for rank in self.ranks), self.http, time.process_time(), self._wall(), asleep)

    # --- faults ------------------------------------------------------------------------------------------------------

    def add_fault(self, fault: Fault) -> None:
        """Misbehave from now on; ``refuse`` is up to the owner of the socket."""
        if fault.kind is FaultKind.FREEZE_METRICS:
            self._frozen = self._page.frozen(self._view())
        elif fault.kind is FaultKind.SLOW_START:
            for rank in self.ranks:
                rank.stop()
            self.restart(float("inf") if fault.seconds is None else fault.seconds)
        self.faults[fault.kind] = fault

    def remove_fault(self, kind: FaultKind) -> None:
        """Behave again; removing a fault that is not there is fine."""
        if self.faults.pop(kind, None) is None:
            return
        if kind is FaultKind.FREEZE_METRICS:
            self._frozen = None
        elif kind is FaultKind.HANG:
            self.release_hung()
        elif kind is FaultKind.SLOW_START:
            self.ready_at = min(self.ready_at, self._loop.time())
            for rank in self.ranks:
                rank.engine.ready_at = self.ready_at

    def struck(self, kind: FaultKind) -> Fault | None:
        """The active fault of this kind if it hits this request."""
        fault = self.faults.get(kind)
        return fault if fault is not None and self._rng.uniform(0.0, 1.0) <= fault.ratio else None

    async def hang(self) -> None:
        """Return when hanging requests are let go of."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._hung.add(waiter)
        try:
            await waiter
        finally:
            self._hung.discard(waiter)

    def release_hung(self) -> None:
        """Let go of hanging requests."""
        for waiter in self._hung:
            if not waiter.done():
                waiter.set_result(None)


def _true_view(rank: EngineLoop) -> RankView:
    engine = rank.engine
    return RankView(
        waiting=engine.waiting,
        deferred=engine.deferred(),
        running=engine.running,
        kv_usage_ratio=engine.pool.usage_ratio,
        kv_tokens=engine.kv_tokens,
        batch=engine.running_loras(),
        queue=engine.waiting_loras(),
        recorder=rank.recorder,
    )


def _idle_view(rank: EngineLoop) -> RankView:
    return RankView(0, 0, 0, 0.0, 0, (), (), rank.recorder)
