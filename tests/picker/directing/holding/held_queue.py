"""A flow director on a real store and real directors, with a clock and an alarm by hand."""

import math
import random
from collections.abc import Collection, Mapping
from dataclasses import replace

from infscale.endpoint import DiscoveryState, Objective, ObjectKey, Phase, Pool
from infscale.latency.priors import Prior, PriorTable
from infscale.metrics.store.metrics_store import MetricStore
from picker.directing.billing.billed_director import BilledDirector
from picker.directing.billing.bills import Bills
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorSettings
from picker.directing.holding.flow_director import FlowDirector
from picker.directing.holding.pool_flow import FlowSettings
from picker.directing.pool_directors import PoolDirectors
from picker.epp_config.loader import PickerConfig, preset
from picker.request import Decision, Headers, Held, InferenceRequest, Outcome, ParsedBody, Rejection, Verdict
from picker.scheduling.costs.step_costs import USUAL_STEPS
from tests.fakes.pools import POOL, endpoint
from tests.fakes.samples import engine_sample
from tests.picker.directing.asked import Asked

LONG = 20_000
"""Tokens of a prompt that keeps an endpoint busy for more than a second, by the usual costs."""
LABELS = ({"tier": "a"}, {"tier": "b"})
"""Of endpoints by turns."""
OBJECTIVES = {"interactive": 10, "batch": -10}


class UsualSteps(PriorTable):
    """Every engine takes the usual steps, for certain."""

    def __init__(self) -> None:
        super().__init__(())

    def find(self, model: str, gpu: str, gpus: int | None, engine: str) -> Prior:
        return Prior(USUAL_STEPS, 0.0, "usual")


class Queue:
    """The flow director of one pool; endpoints run what they are sent, and `now` passes when it is told to."""

    settings = DirectorSettings(holds=True, trusted_headers=frozenset({"x-llm-d-inference-objective"}))

    def __init__(
        self,
        endpoints: int = 1,
        flow: FlowSettings | None = None,
        ticks: float = 0.0,
        config: PickerConfig | None = None,
        blocks: int | None = None,
        role: str = "",
        priors: PriorTable | None = None,
    ) -> None:
        """With `blocks` each endpoint has a KV cache of so many blocks of 16 tokens; `role` is its label."""
        self.now = 1.0
        self.ticks = ticks
        self.blocks = blocks
        self.labels = {"llm-d.ai/role": role} if role else {}
        self.alarm = math.inf
        self.store = MetricStore("s", priors=priors or UsualSteps())
        self.config = config or preset("infscale")
        self.wall = 1_700_000_000.0
        settings = replace(self.settings, wall=lambda: self.wall + self.now)
        self.directors = PoolDirectors(
            lambda pool: PoolDirector(pool, self.config, self.store, random.Random(1), settings), None, self.store
        )
        waiting = flow or FlowSettings()
        self.bills = Bills(self.store, waiting.budgets)
        inner = BilledDirector(self.directors, self.bills)
        self.flow = FlowDirector(inner, self.directors, waiting, self._set, self._time, self.bills)
        self.went: list[Asked] = []
        self.state(endpoints)

    def _set(self, at: float) -> None:
        self.alarm = at

    def _time(self) -> float:
        self.now += self.ticks
        return self.now

    def state(
        self,
        endpoints: int,
        phase: Phase = Phase.READY,
        pools: int = 1,
        gone: Collection[int] = (),
        *,
        scraped: bool = True,
    ) -> None:
        """Discovery finds so many endpoints, of which those `gone` drain; new ones are known once `scraped`."""
        phases = [Phase.DRAINING if row in gone else phase for row in range(endpoints)]
        found = tuple(endpoint(row, LABELS[row % 2] | self.labels, phase=each) for row, each in enumerate(phases))
        objectives = tuple(
            Objective(ObjectKey(POOL.namespace, name), priority, POOL.name) for name, priority in OBJECTIVES.items()
        )
        state = DiscoveryState(found, (Pool(POOL, {}),) if pools else (), objectives)
        self.store.sync(state)
        self.directors.sync(state)
        self.bills.sync(state, self.now)
        self.flow.sync(self.now)
        if scraped:
            self.scrape()

    def scrape(self) -> None:
        """Every endpoint runs what it was sent."""
        snapshot = self.store.snapshot(POOL)
        running = [] if snapshot is None else snapshot.in_flight_requests.tolist()
        for each, count in zip(self.store.discovery.endpoints, running, strict=False):
            page = engine_sample(0.0, count, 0.0, block_size_tokens=16, num_blocks=self.blocks)
            self.store.record_scrape(each.key, page, self.now)
            self.bills.observed(self.now)
        self.flow.stir(self.now)

    def ask(
        self,
        tokens: int = LONG,
        headers: Mapping[str, str] | None = None,
        size: int = 100,
        subset: tuple[str, ...] | None = None,
        prompt: bytes | None = None,
    ) -> Asked:
        given = Headers([(name, value.encode()) for name, value in (headers or {}).items()])
        prompt = prompt or random.Random(len(self.went)).randbytes(64)
        body = ParsedBody("completions", "m", prompt, tokens, 100)
        asked = Asked(InferenceRequest("id", "/v1/completions", given, body, subset, size))
        self.went.append(asked)
        verdict = self.flow.direct(asked.request, self.now)
        if isinstance(verdict, Held):
            asked.held = verdict
            verdict.listen(lambda told: self._told(asked, told))
        else:
            self._told(asked, verdict)
        return asked

    def _told(self, asked: Asked, verdict: Verdict) -> None:
        asked.verdicts.append(verdict)
        if isinstance(verdict, Decision) and verdict.recall is not None:
            verdict.recall.listen(lambda rejection: self._evicted(asked, rejection))

    def _evicted(self, asked: Asked, rejection: Rejection) -> None:
        asked.evicted.append(rejection)
        self.ends(asked, Outcome("evicted"))

    def ends(self, asked: Asked, outcome: Outcome | None = None) -> None:
        self.flow.finished(asked.request, asked.decision, outcome or Outcome("completed", 200), self.now)

    def passes(self, seconds: float) -> None:
        """Let time pass, with scrapes and rings of the alarm."""
        until = self.now + seconds
        while min(self.alarm, self.now + 0.5) < until:
            self.now = max(self.now, min(self.alarm, self.now + 0.5))
            if self.alarm <= self.now:
                self.alarm = math.inf
                self.flow.ring(self.now)
            else:
                self.scrape()
        self.now = max(self.now, until)
        self.scrape()

    def settle(self) -> None:
        """All that may go now goes."""
        self.now += 0.003
        self.flow.stir(self.now)
        for _ in range(1_000):
            if self.alarm > self.now:
                return
            self.alarm = math.inf
            self.flow.ring(self.now)
        raise AssertionError("it is rung for ever")

    @property
    def waiting(self) -> list[Asked]:
        """What waits, in the order in which it came."""
        return [each for each in self.went if each.held is not None and each.held.waiting]

    @property
    def in_flight(self) -> float:
        snapshot = self.store.snapshot(POOL)
        return 0.0 if snapshot is None else float(snapshot.in_flight_requests.sum())


def as_class(name: str) -> dict[str, str]:
    return {"x-llm-d-inference-objective": name}


def of_tenant(name: str) -> dict[str, str]:
    return {"x-llm-d-inference-fairness-id": name}


def order(*asked: Asked) -> list[int]:
    """Places of those that went, in the order in which they did."""
    numbers = [(one.decision.charge.number, place) for place, one in enumerate(asked) if one.decision.charge]
    return [place for _, place in sorted(numbers)]
