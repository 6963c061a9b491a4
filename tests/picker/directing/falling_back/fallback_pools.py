"""A fallback director on a real store with real queues: pools of one namespace, with a clock and alarms by hand."""

import math
import random
from collections.abc import Mapping, Sequence
from typing import Literal

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, Objective, ObjectKey, Phase, Pool
from infscale.metrics.snapshot import PoolSettings
from infscale.metrics.store.metrics_store import MetricStore
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorSettings
from picker.directing.falling_back.fallback_director import FallbackDirector
from picker.directing.falling_back.fallback_target import FallbackTarget
from picker.directing.holding.flow_director import FlowDirector
from picker.directing.holding.pool_flow import FlowSettings
from picker.directing.pool_directors import PoolDirectors
from picker.directing.reference.reference_flow_director import ReferenceFlowControl, ReferenceFlowDirector
from picker.epp_config.loader import load_picker_config, preset
from picker.flow.reference.flow_settings import ReferenceFlowSettings
from picker.request import Decision, Headers, Held, InferenceRequest, Outcome, ParsedBody, Rejection, Verdict
from tests.fakes.samples import engine_sample
from tests.picker.directing.asked import Asked
from tests.picker.directing.holding.held_queue import UsualSteps

CHAT, STANDBY, SMALL = (ObjectKey("llm", name) for name in ("chat", "standby", "small"))
POOLS = (CHAT, STANDBY, SMALL)
LONG = 20_000
"""Tokens of a prompt that keeps an endpoint busy for more than a second."""

Waits = Literal["own", "reference", "none"]
"""By whose rules requests wait."""

REFERENCE = load_picker_config(
    """
apiVersion: llm-d.ai/v1
kind: EndpointPickerConfig
featureGates: [flowControl]
plugins:
- {type: concurrency-detector, parameters: {maxConcurrency: 1}}
- type: queue-scorer
flowControl: {saturationDetector: {pluginRef: concurrency-detector}}
""",
    "epp.yaml",
)
"""An endpoint is full with one request."""


class Pools:
    """Requests are for `chat`; what endpoints each pool has is told, and they run what they are sent."""

    def __init__(
        self,
        targets: Mapping[ObjectKey, Sequence[FallbackTarget]],
        waits: Waits = "own",
        max_wait_seconds: float = 60.0,
        no_endpoint_seconds: float = 60.0,
    ) -> None:
        self.now = 1.0
        self.alarms = [math.inf, math.inf]
        self.store = MetricStore("s", priors=UsualSteps())
        self.config = REFERENCE if waits == "reference" else preset("infscale")
        settings = DirectorSettings(holds=waits != "none", trusted_headers=frozenset({"x-llm-d-inference-objective"}))
        self.directors = PoolDirectors(
            lambda pool: PoolDirector(pool, self.config, self.store, random.Random(1), settings), CHAT, self.store
        )
        self.queue: FlowDirector | ReferenceFlowDirector | None = None
        if waits == "own":
            self.queue = FlowDirector(
                self.directors,
                self.directors,
                FlowSettings(max_wait_seconds, no_endpoint_seconds),
                lambda at: self._set(0, at),
                self._time,
            )
        elif waits == "reference":
            control = ReferenceFlowControl(ReferenceFlowSettings())
            self.queue = ReferenceFlowDirector(
                self.directors, self.directors, self.store, control, lambda at: self._set(0, at), self._time
            )
        self.director = FallbackDirector(
            self.queue or self.directors,
            self.directors,
            self.store,
            self.queue,
            targets,
            lambda at: self._set(1, at),
            self._time,
        )
        self.endpoints: dict[ObjectKey, int] = dict.fromkeys(POOLS, 0)
        self.dead: set[ObjectKey] = set()
        self.went: list[Asked] = []

    def _set(self, which: int, at: float) -> None:
        self.alarms[which] = at

    def _time(self) -> float:
        return self.now

    def lose(self, pool: ObjectKey, chat: int) -> None:
        """Have `pool` gone, and so many endpoints of `chat`."""
        self.have(chat, without=pool)

    def have(self, chat: int = 0, standby: int = 0, small: int = 0, without: ObjectKey | None = None) -> None:
        """Have so many endpoints in each pool, of which `without` is not there."""
        found: list[Endpoint] = []
        for number, (pool, count) in enumerate(zip(POOLS, (chat, standby, small), strict=True)):
            self.endpoints[pool] = count
            found += [
                Endpoint(
                    EndpointKey("llm", f"{pool.name}-{row}"),
                    f"10.0.{number}.{row + 1}",
                    8000,
                    {"pool": pool.name},
                    Phase.READY,
                )
                for row in range(count)
            ]
        state = DiscoveryState(
            tuple(found),
            tuple(Pool(pool, {"pool": pool.name}) for pool in POOLS if pool != without),
            (Objective(ObjectKey("llm", "gold"), 10, "chat"),),
        )
        for pool in POOLS:
            self.store.configure(pool, self.config.pool_settings(PoolSettings(), None))
        self.store.sync(state)
        self.directors.sync(state)
        if self.queue is not None:
            self.queue.sync(self.now)
        self.scrape()

    def scrape(self) -> None:
        for pool in POOLS:
            snapshot = self.store.snapshot(pool)
            if snapshot is None:
                continue
            for each, running in zip(snapshot.endpoints, snapshot.in_flight_requests.tolist(), strict=True):
                if pool in self.dead:
                    self.store.record_failure(each.key, "connection refused", self.now)
                else:
                    page = engine_sample(0.0, running, 0.0, block_size_tokens=16)
                    self.store.record_scrape(each.key, page, self.now)
        if self.queue is not None:
            self.queue.stir(self.now)

    def ask(
        self,
        tokens: int = LONG,
        headers: Mapping[str, str] | None = None,
        subset: tuple[str, ...] | None = None,
        body: ParsedBody | Literal["usual"] | None = "usual",
    ) -> Asked:
        given = Headers([(name, value.encode()) for name, value in (headers or {}).items()])
        prompt = random.Random(len(self.went)).randbytes(64)
        said = ParsedBody("completions", "big", prompt, tokens, 100, has_model=True) if body == "usual" else body
        asked = Asked(InferenceRequest("id", "/v1/completions", given, said, subset))
        self.went.append(asked)
        verdict = self.director.direct(asked.request, self.now)
        if isinstance(verdict, Held):
            asked.held = verdict
            verdict.listen(asked.verdicts.append)
        else:
            asked.verdicts.append(verdict)
        return asked

    def ends(self, asked: Asked, status: int = 200) -> None:
        self.director.finished(asked.request, asked.decision, Outcome("completed", status), self.now)

    def passes(self, seconds: float) -> None:
        """Let time pass, with scrapes and rings of the alarms."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, max(self.now + 0.001, min(*self.alarms, math.floor(self.now * 2 + 1) / 2)))
            self.ring()
            if self.now * 2 == math.floor(self.now * 2):
                self.scrape()

    def ring(self) -> None:
        for _ in range(1_000):
            due = [which for which, at in enumerate(self.alarms) if at <= self.now]
            if not due:
                return
            for which in due:
                self.alarms[which] = math.inf
                if which:
                    self.director.ring(self.now)
                elif self.queue is not None:
                    self.queue.ring(self.now)
            if min(self.alarms) <= self.now:
                self.now += 0.001
        raise AssertionError("it is rung for ever")

    def there(self) -> int:
        """How many requests are elsewhere by the books."""
        return sum(self.director.books.there.values())

    def counted(self) -> dict[tuple[str, str], int]:
        """By target and reason, how many went elsewhere."""
        return {(way.target.name, why.value): count for (way, why), count in self.director.books.went.items()}

    def in_flight(self) -> float:
        found = [self.store.snapshot(pool) for pool in POOLS]
        return sum(float(each.in_flight_requests.sum()) for each in found if each is not None)


def told(verdict: Verdict) -> str:
    """Where it goes, or why nowhere."""
    if isinstance(verdict, Rejection):
        return verdict.reason.value
    assert isinstance(verdict, Decision)
    assert verdict.pool is not None
    return verdict.pool.name
