"""Laws of what waits, through real directors: shares of tenants, conservation of charges and of work, one outcome each.

They hold under any order of arrivals, ends, aborts, evictions, expiries and pool changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from infscale.endpoint import Phase
from picker.directing.holding.pool_flow import FlowSettings
from picker.flow.budgets import Budget
from picker.flow.tenants import CostFairness
from picker.request import Decision, Outcome, Reason
from tests.fakes.pools import POOL
from tests.picker.directing.asked import Asked
from tests.picker.directing.holding.held_queue import Queue, as_class, of_tenant

WEIGHTS = {"a": 1.0, "b": 2.0, "c": 0.5}
AS_EXPECTED = Outcome("completed", 200, first_byte_seconds=0.1, duration_seconds=1.0)
ENDS = (
    AS_EXPECTED,
    Outcome("completed", 200, completion_tokens=400, first_byte_seconds=0.1, duration_seconds=9.0),
    Outcome("completed", 200, completion_tokens=1, first_byte_seconds=0.1, duration_seconds=0.2),
    Outcome("aborted", 200, first_byte_seconds=0.1, duration_seconds=0.3),
    Outcome("aborted", duration_seconds=0.3),
    Outcome("error", 503, duration_seconds=0.3),
)
"""As expected, dearer, cheaper, and what was used so far: given up or evicted in the answer and before it, refused."""
SHARED = bytes(range(256)) * 8


def cost_of(asked: Asked) -> float:
    cost = asked.decision.cost
    assert cost is not None
    return max(cost.seconds, 1e-6)


@dataclass
class Tenants:
    """What tenants were charged that always have requests waiting; `gaps` are of pairs, since both wait."""

    queue: Queue
    tokens: Mapping[str, list[int]]
    present: list[str] = field(default_factory=list[str])
    charged: dict[str, float] = field(default_factory=dict[str, float])
    gaps: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict[tuple[str, str], tuple[float, float]])
    slack: float = 0.0
    dearest: float = 0.0
    count: int = 0
    known: set[int] = field(default_factory=set[int])
    waiting: dict[str, list[Asked]] = field(default_factory=dict[str, list[Asked]])
    running: list[tuple[str, Asked]] = field(default_factory=list[tuple[str, Asked]])

    def joins(self, name: str) -> None:
        self.waiting[name] = []
        self.charged[name] = 0.0
        self.refill(name)
        self.present.append(name)

    def refill(self, name: str) -> None:
        """Ten wait if the pool is full; half of the prompts of tenant a is cached where one has gone before."""
        for _ in range(20):
            if len(self.waiting[name]) >= 10:
                return
            self.count += 1
            lengths = self.tokens[name]
            prompt = (SHARED if name == "a" else b"") + self.count.to_bytes(8, "big") * 256
            asked = self.queue.ask(lengths[self.count % len(lengths)], of_tenant(name), prompt=prompt)
            self.waiting[name].append(asked)
            self.look()

    def look(self) -> None:
        """Charge what has gone since."""
        for name, asked in self.waiting.items():
            for each in [each for each in asked if not each.waits]:
                asked.remove(each)
                cost = cost_of(each)
                self.dearest = max(self.dearest, cost / WEIGHTS[name])
                self.charged[name] += cost / WEIGHTS[name]
                self.running.append((name, each))

    def ends(self, place: int, outcome: Outcome) -> None:
        name, asked = self.running.pop(place % len(self.running))
        cost = asked.decision.cost
        assert cost is not None
        more = (cost.settled(outcome) - cost_of(asked)) / WEIGHTS[name]
        self.charged[name] += more
        # The flow goes by what it knows, so that it is off by what it did not know.
        self.slack += abs(more)
        self.queue.ends(asked, outcome)

    def gap(self, one: str, other: str) -> float:
        return self.charged[one] - self.charged[other]

    def check(self) -> None:
        fairness = self.queue.flow.flows[POOL].queue.fairness(0)
        assert isinstance(fairness, CostFairness)
        for one, other in combinations(self.present, 2):
            if not (self.waiting[one] and self.waiting[other]):
                self.gaps.pop((one, other), None)
                continue
            gap = self.gap(one, other)
            low, high = self.gaps.get((one, other), (gap, gap))
            low, high = min(low, gap), max(high, gap)
            self.gaps[one, other] = low, high
            bound = fairness.quantum_seconds + 2 * self.dearest + self.slack + 1e-9
            assert high - low <= bound, f"{one} and {other}: {high - low:g} of {bound:g}"


@settings(max_examples=30, deadline=None)
@given(
    tokens=st.lists(st.lists(st.sampled_from([500, 4_000, 20_000]), min_size=1, max_size=3), min_size=3, max_size=3),
    joins=st.lists(st.integers(0, 25), min_size=2, max_size=2),
    exact=st.booleans(),
    events=st.lists(st.tuples(st.integers(0, 8), st.sampled_from(ENDS), st.integers(0, 40)), min_size=10, max_size=50),
    endpoints=st.integers(1, 3),
)
def test_tenants_that_wait_differ_by_a_quantum_and_two_requests_at_most(
    tokens: list[list[int]],
    joins: list[int],
    exact: bool,
    events: list[tuple[int, Outcome, int]],
    endpoints: int,
) -> None:
    """|S_i/φ_i − S_j/φ_j| ≤ Q + 2 · max κ/φ over every stretch in which both wait, and what ends were off by."""
    queue = Queue(endpoints, FlowSettings(weights=WEIGHTS, max_wait_seconds=1e6))
    tenants = Tenants(queue, dict(zip("abc", tokens, strict=True)))
    # The endpoints have something to do before.
    for _ in range(endpoints):
        tenants.dearest = max(tenants.dearest, cost_of(queue.ask(40_000, of_tenant("a"))) / WEIGHTS["a"])
    tenants.joins("a")
    for step, (event, outcome, place) in enumerate(events):
        for name, at in zip("bc", joins, strict=True):
            if step == at:
                tenants.joins(name)
        if event == 0:
            queue.state(1 + place % 3)
        elif event <= 3 and tenants.running:
            tenants.ends(place, AS_EXPECTED if exact else outcome)
        else:
            queue.now += place * 0.02
        queue.settle()
        tenants.look()
        tenants.check()
        for name in tenants.present:
            tenants.refill(name)
        tenants.check()
    assert not (exact and tenants.slack > 1e-9)


class HoldingLaws(RuleBasedStateMachine):
    """Requests of several tenants, bands and lanes."""

    @initialize(endpoints=st.integers(0, 3), shares=st.sampled_from([{}, {-10: 0.3}, {0: 0.2, -10: 0.2}]))
    def begin(self, endpoints: int, shares: dict[int, float]) -> None:
        flow = FlowSettings(20.0, 15.0, Budget(requests=12), WEIGHTS, shares)
        self.queue = Queue(endpoints, flow)
        self.gone: set[int] = set()
        self.settled: dict[tuple[int, str], float] = {}
        self.tenant: dict[int, tuple[int, str]] = {}

    @rule(
        tokens=st.sampled_from([10, 2_000, 20_000]),
        name=st.sampled_from([("interactive", 10), ("batch", -10), ("", 0)]),
        tenant=st.sampled_from(["a", "b", ""]),
        more=st.sampled_from([{}, {"x-slo-ttft-ms": "3000"}, {"x-llm-d-inference-ttl": "4s"}, {"x-slo-tpot-ms": "90"}]),
        only=st.sampled_from([None, None, ("10.0.0.1:8000",), ("10.0.0.2:8000", "10.0.0.3:8000"), ("10.0.0.9:8000",)]),
    )
    def comes(
        self, tokens: int, name: tuple[str, int], tenant: str, more: dict[str, str], only: tuple[str, ...] | None
    ) -> None:
        headers = {**more, **(as_class(name[0]) if name[0] else {}), **(of_tenant(tenant) if tenant else {})}
        self.tenant[len(self.queue.went)] = name[1], tenant
        self.queue.ask(tokens, headers, subset=only)

    @rule()
    def one_endpoint_is_asked_for_by_more_than_it_takes(self) -> None:
        for only in (("10.0.0.1:8000",),) * 3 + (None,):
            self.tenant[len(self.queue.went)] = 0, "a"
            self.queue.ask(20_000, of_tenant("a"), subset=only)

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.3, 2.0, 7.0]))
    def time_passes(self, seconds: float) -> None:
        self.queue.passes(seconds)

    @rule(data=st.data(), outcome=st.sampled_from(ENDS))
    def ends(self, data: st.DataObject, outcome: Outcome) -> None:
        running = self.running()
        if running:
            number = data.draw(st.sampled_from(running))
            asked = self.queue.went[number]
            cost = asked.decision.cost
            assert cost is not None
            key = self.tenant[number]
            self.settled[key] = self.settled.get(key, 0.0) + cost.settled(outcome)
            self.gone.add(number)
            self.queue.ends(asked, outcome)

    @precondition(lambda self: self.queue.waiting)
    @rule(data=st.data())
    def gives_up(self, data: st.DataObject) -> None:
        asked = data.draw(st.sampled_from(self.queue.waiting))
        assert asked.held is not None
        asked.held.give_up()

    @rule(endpoints=st.integers(0, 3), phase=st.sampled_from([Phase.READY, Phase.READY, Phase.DRAINING]))
    def pool_changes(self, endpoints: int, phase: Phase) -> None:
        self.queue.state(endpoints, phase)

    def running(self) -> list[int]:
        went = enumerate(self.queue.went)
        decided = [number for number, each in went if each.verdicts and isinstance(each.verdicts[0], Decision)]
        for number in decided:
            asked, key = self.queue.went[number], self.tenant[number]
            if asked.evicted and number not in self.gone:
                cost = asked.decision.cost
                assert cost is not None
                self.settled[key] = self.settled.get(key, 0.0) + cost.settled(Outcome("evicted"))
                self.gone.add(number)
        return [number for number in decided if number not in self.gone]

    @invariant()
    def one_outcome_each(self) -> None:
        assert all(len(each.verdicts) <= 1 for each in self.queue.went)
        assert all(bool(each.verdicts) != each.waits for each in self.queue.went)
        assert not any(each.held is not None and each.held.waiting and each.verdicts for each in self.queue.went)

    @invariant()
    def charges_are_what_was_settled_and_what_runs(self) -> None:
        queue = self.queue.flow.flows[POOL].queue
        running: dict[tuple[int, str], float] = {}
        for number in self.running():
            key = self.tenant[number]
            running[key] = running.get(key, 0.0) + cost_of(self.queue.went[number])
        for key in {*self.tenant.values()}:
            fairness = queue.fairness(key[0])
            assert isinstance(fairness, CostFairness)
            assert fairness.outstanding_seconds(key[1]) == pytest.approx(running.get(key, 0.0))
            if key[1] not in fairness:
                # It stands no higher than what comes anew, and nothing of it waits or runs.
                self.settled.pop(key, None)
                assert key not in running
            charged = self.settled.get(key, 0.0) + running.get(key, 0.0)
            assert fairness.charged_seconds(key[1]) == pytest.approx(charged)

    @invariant()
    def no_request_waits_while_an_endpoint_that_it_may_go_to_has_room(self) -> None:
        """Unless one before it, which finds no room anywhere, may keep that endpoint for itself."""
        self.queue.settle()
        flow = self.queue.flow.flows[POOL]
        turn = flow.queue.turn()
        while (waiting := turn.next(self.queue.now)) is not None:
            verdict = self.queue.directors.direct(flow.entries[waiting.number].request, self.queue.now)
            assert not isinstance(verdict, Decision)
            assert verdict.reason in {Reason.NO_ROOM, Reason.NO_ENDPOINTS}
            if verdict.reason is Reason.NO_ROOM and flow.director.ready() > 1:
                break
            turn.blocked(waiting)
        flow.queue.end_turn()

    @invariant()
    def what_waits_is_looked_at_again(self) -> None:
        queue = self.queue.flow.flows[POOL].queue
        assert len(queue) == len(self.queue.flow.flows[POOL].entries) == len(self.queue.waiting)
        assert queue.held.size_bytes == 100 * len(queue)
        assert not self.queue.waiting or self.queue.alarm <= self.queue.now + 20.0

    def teardown(self) -> None:
        if not hasattr(self, "queue"):
            return
        self.queue.passes(25.0)
        assert not self.queue.waiting
        for number in self.running():
            self.queue.ends(self.queue.went[number])
        flow = self.queue.flow.flows[POOL]
        assert not flow._running  # pyright: ignore[reportPrivateUsage]
        assert not flow._active  # pyright: ignore[reportPrivateUsage]
        assert self.queue.in_flight == 0


TestHoldingLaws = HoldingLaws.TestCase
TestHoldingLaws.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
