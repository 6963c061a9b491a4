"""A billed director on a real store and a real director, with a clock by hand, and what the pool's time was."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from infscale.endpoint import DiscoveryState, Endpoint, Phase, Pool
from infscale.metrics.store.described_engine import GPUS_LABEL
from infscale.metrics.store.metrics_store import MetricStore
from picker.directing.billing.billed_director import BilledDirector
from picker.directing.billing.bills import Bills
from picker.directing.billing.pool_bill import PoolBill
from picker.directing.director import PoolDirector
from picker.directing.pool_directors import PoolDirectors
from picker.epp_config.loader import PickerConfig, preset
from picker.request import Decision, Headers, InferenceRequest, Outcome, ParsedBody, Rejection
from tests.fakes.pools import POOL, endpoint
from tests.fakes.samples import engine_sample


@dataclass
class Sent:
    """A request that was sent, and where it is."""

    request: InferenceRequest
    decision: Decision


@dataclass
class BilledPool:
    """`counted` is what the time of the pool was, by what is told of it here and not by the bill."""

    gpus: Mapping[int, int] = field(default_factory=dict[int, int])
    config: PickerConfig = field(default_factory=lambda: preset("infscale"))
    known: tuple[str, ...] = ()
    now: float = 1_000.0
    counted: float = 0.0

    def __post_init__(self) -> None:
        self.store = MetricStore("s")
        self.directors = PoolDirectors(
            lambda pool: PoolDirector(pool, self.config, self.store, random.Random(1)), None, self.store
        )
        self.bills = Bills(self.store, self.known)
        self.store.on_observation(lambda: self.bills.observed(self.now))
        self.director = BilledDirector(self.directors, self.bills)
        self.phases: dict[int, Phase] = {}
        self.open: list[Sent] = []
        self.left: set[tuple[int, str]] = set()
        """Requests, by their place in memory, and the endpoint that left while they were there."""

    # --- the pool -----------------------------------------------------------------------------------------------------

    def has(self, phases: Mapping[int, Phase], pools: int = 1) -> None:
        """Discovery finds these endpoints, by number, in this phase each."""
        self.phases = dict(phases) if pools else {}
        names = {f"pod-{number}" for number in self.phases}
        self.left |= {(id(each), self._at(each)) for each in self.open if self._at(each) not in names}
        found = tuple(self._endpoint(number, phase) for number, phase in phases.items())
        state = DiscoveryState(found, (Pool(POOL, {}),) if pools else ())
        self.store.sync(state)
        self.directors.sync(state)
        self.bills.sync(state, self.now)
        self.scrape()

    def _endpoint(self, number: int, phase: Phase) -> Endpoint:
        labels = {GPUS_LABEL: str(self.gpus[number])} if number in self.gpus else {}
        return replace(endpoint(number, labels), phase=phase)

    def scrape(self) -> None:
        """Every endpoint runs what it was sent."""
        for each in self.store.discovery.endpoints:
            running = sum(self._at(one) == each.key.name for one in self.open)
            self.store.record_scrape(each.key, engine_sample(0.0, running, 0.0), self.now)

    def passes(self, seconds: float) -> None:
        """Time passes: that of what is ready, and of what is not as long as it works."""
        for number, phase in self.phases.items():
            name = f"pod-{number}"
            works = any(self._at(each) == name and (id(each), name) not in self.left for each in self.open)
            if phase is Phase.READY or works:
                self.counted += seconds * self.gpus.get(number, 1)
        self.now += seconds

    def _at(self, sent: Sent) -> str:
        charge = sent.decision.charge
        assert charge is not None
        return charge.endpoint.name

    # --- requests -----------------------------------------------------------------------------------------------------

    def ask(self, tenant: str = "", tokens: int = 100, model: str = "m") -> Sent | None:
        """Send a request; None: it was refused."""
        headers = Headers([("x-llm-d-inference-fairness-id", tenant.encode())] if tenant else [])
        body = ParsedBody("completions", model, random.Random(len(self.open)).randbytes(64), tokens, 100)
        request = InferenceRequest("id", "/v1/completions", headers, body)
        verdict = self.director.direct(request, self.now)
        if isinstance(verdict, Rejection):
            return None
        sent = Sent(request, verdict)
        self.open.append(sent)
        return sent

    def answers(self, sent: Sent, served: str | None = None, status: int = 200) -> None:
        """Its response headers come, from the endpoint with the authority `served`."""
        before = sent.decision
        sent.decision = self.director.response_started(before, status, served, self.now)
        if sent.decision.charge is not before.charge:
            self.left.discard((id(sent), self._at(sent)))

    def ends(self, sent: Sent, outcome: Outcome | None = None) -> None:
        """It is over."""
        self.open.remove(sent)
        self.left = {each for each in self.left if each[0] != id(sent)}
        self.director.finished(sent.request, sent.decision, outcome or Outcome("completed", 200), self.now)

    # --- the bill -----------------------------------------------------------------------------------------------------

    @property
    def bill(self) -> PoolBill:
        """The bill, settled."""
        self.bills.settle(self.now)
        found = self.bills.bill(POOL)
        assert found is not None
        return found

    def booked(self, tenant: str, ending: str = "used") -> float:
        """What requests of a tenant with this ending had."""
        return sum(
            seconds
            for row in self.bill.rows.all
            if row.key.tenant == tenant
            for each, seconds in row.booked.items()
            if each == ending
        )


def billed(bill: PoolBill) -> float:
    """What the parts of a bill add up to."""
    booked = sum(seconds for row in bill.rows.all for seconds in row.booked.values())
    return booked + bill.running + bill.idle + bill.recomputed
