"""Fairness in GPU time: the bound on what flows that wait can differ by, and conservation of what they are charged."""

import random
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picker.flow.tenants import MOST_TENANTS, CostFairness
from picker.flow.waiting import Waiting

COSTS = st.floats(0.01, 5.0)


class Backlog:
    """Flows that always have a request waiting; `costs` says what their next ones cost."""

    def __init__(self, fairness: CostFairness, rng: random.Random, costs: Mapping[str, list[float]]) -> None:
        self.fairness = fairness
        self._rng = rng
        self._costs = costs
        self._number = 0
        self.heads: dict[str, Waiting] = {}

    def joins(self, flow: str) -> None:
        self.fairness.waits(flow, 0.0)
        self._next(flow)

    def leaves(self, flow: str) -> None:
        del self.heads[flow]
        self.fairness.waits_no_more(flow, 0.0)
        self.fairness.forget(flow)

    def serve(self) -> Waiting:
        chosen = self.fairness.choose(self.heads, 0.0)
        assert chosen is not None
        waiting = self.heads[chosen]
        self.fairness.dispatched(waiting, 0.0)
        self._next(chosen)
        return waiting

    def _next(self, flow: str) -> None:
        self._number += 1
        cost = self._rng.choice(self._costs[flow])
        self.heads[flow] = Waiting(self._number, 0, flow, 0, 0.0, 0.0, cost_seconds=cost)


@given(
    costs=st.lists(st.lists(COSTS, min_size=1, max_size=3), min_size=2, max_size=4),
    weights=st.lists(st.floats(0.1, 10.0), min_size=4, max_size=4),
    local=st.booleans(),
    seed=st.integers(0, 1000),
    comes=st.integers(0, 60),
)
def test_flows_that_wait_differ_by_a_quantum_and_two_requests_at_most(
    costs: list[list[float]], weights: list[float], local: bool, seed: int, comes: int
) -> None:
    """Over every stretch of time in which both wait, also one that comes when others were served for long."""
    rng = random.Random(seed)
    names = "abcd"[: len(costs)]
    weight = dict(zip(names, weights, strict=False))
    # A flow whose prompts are always cached best would take all, if it could.
    fairness = CostFairness(weight, _cached_of_a if local else None)
    backlog = Backlog(fairness, rng, dict(zip(names, costs, strict=True)))
    last = names[-1]
    for name in names[:-1]:
        backlog.joins(name)
    dearest = max(cost / weight[name] for name, each in zip(names, costs, strict=True) for cost in each)
    served = dict.fromkeys(names, 0.0)
    # The lowest and highest difference of two flows since both wait.
    spread: dict[tuple[str, str], tuple[float, float]] = {}
    for turn in range(120):
        if turn == comes:
            backlog.joins(last)
            spread |= {pair: (each, each) for pair, each in _differences(served, names).items() if last in pair}
        waiting = backlog.serve()
        served[waiting.flow] += waiting.cost_seconds / weight[waiting.flow]
        present = names if turn >= comes else names[:-1]
        for pair, difference in _differences(served, present).items():
            low, high = spread.get(pair, (0.0, 0.0))
            spread[pair] = min(low, difference), max(high, difference)
        for low, high in spread.values():
            assert high - low <= fairness.quantum_seconds + 2 * dearest + 1e-9


def _cached_of_a(waiting: Waiting) -> float:
    return float(waiting.flow == "a")


def _differences(served: Mapping[str, float], names: str) -> dict[tuple[str, str], float]:
    return {(one, other): served[one] - served[other] for one in names for other in names}


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), COSTS, st.one_of(st.none(), st.floats(0, 20.0)), st.booleans()),
        max_size=60,
    )
)
def test_what_flows_were_charged_is_what_was_settled_and_what_is_outstanding(
    requests: list[tuple[str, float, float | None, bool]],
) -> None:
    fairness = CostFairness({"a": 2.0})
    weight = {"a": 2.0, "b": 1.0, "c": 1.0}
    for flow in weight:
        fairness.waits(flow, 0.0)
    settled = dict.fromkeys(weight, 0.0)
    outstanding = dict.fromkeys(weight, 0.0)
    for number, (flow, estimate, cost, twice) in enumerate(requests):
        waiting = Waiting(number, 0, flow, 0, 0.0, 0.0, cost_seconds=estimate)
        fairness.dispatched(waiting, 0.0)
        if cost is None:
            outstanding[flow] += estimate
        else:
            fairness.ended(waiting, cost, 1.0)
            settled[flow] += cost
        if cost is not None and twice:
            # The end of a request is booked once.
            fairness.ended(waiting, 100.0, 1.0)
    for flow in weight:
        assert fairness.outstanding_seconds(flow) == pytest.approx(outstanding[flow])
        charged = (settled[flow] + outstanding[flow]) / weight[flow]
        assert fairness.virtual_seconds(flow) == pytest.approx(charged)


def test_a_flow_that_comes_back_has_saved_up_nothing() -> None:
    fairness = CostFairness()
    backlog = Backlog(fairness, random.Random(1), {"busy": [1.0], "idle": [1.0]})
    backlog.joins("busy")
    for _ in range(100):
        backlog.serve()
    backlog.joins("idle")
    assert [backlog.serve().flow for _ in range(6)].count("idle") == 3


def test_what_passes_without_waiting_is_charged_and_earns_its_flow_no_credit() -> None:
    """Ten times as many requests of one flow pass an empty queue; once both wait, they are served alike."""
    fairness = CostFairness()
    number = 1000
    for _ in range(50):
        for flow in ["often"] * 10 + ["seldom"]:
            number += 1
            fairness.dispatched(Waiting(number, 0, flow, 0, 0.0, 0.0, cost_seconds=1.0), 0.0)
    backlog = Backlog(fairness, random.Random(1), {"often": [1.0], "seldom": [1.0]})
    backlog.joins("seldom")
    backlog.joins("often")
    assert 4 <= [backlog.serve().flow for _ in range(10)].count("often") <= 6


def test_a_flow_does_not_escape_its_debt_by_going_idle() -> None:
    fairness = CostFairness()
    backlog = Backlog(fairness, random.Random(1), {"dear": [10.0], "cheap": [1.0]})
    backlog.joins("cheap")
    backlog.joins("dear")
    while backlog.serve().flow != "dear":
        pass
    backlog.leaves("dear")
    backlog.joins("dear")
    assert [backlog.serve().flow for _ in range(8)].count("dear") == 0


def test_within_a_quantum_the_prompt_that_is_cached_best_goes_first() -> None:
    fairness = CostFairness(hit_share=lambda waiting: 0.9 if waiting.flow == "warm" else 0.0)
    for flow in ("cold", "warm"):
        fairness.waits(flow, 0.0)
    cold = Waiting(1, 0, "cold", 0, 0.0, 0.0, cost_seconds=1.0)
    warm = Waiting(2, 0, "warm", 0, 0.0, 0.0, cost_seconds=0.2)
    heads = {"cold": cold, "warm": warm}
    assert fairness.choose(heads, 0.0) == "cold", "nothing was dispatched yet, so there is no quantum"
    fairness.dispatched(cold, 0.0)
    fairness.dispatched(warm, 0.0)
    order: list[str] = []
    for number in range(3, 23):
        chosen = fairness.choose(heads, 0.0)
        assert chosen is not None
        order.append(chosen)
        heads[chosen] = Waiting(number, 0, chosen, 0, 0.0, 0.0, cost_seconds=heads[chosen].cost_seconds)
        fairness.dispatched(heads[chosen], 0.0)
    assert order[0] == "warm"
    assert "cold" in order


def test_flows_that_owe_nothing_are_forgotten_and_of_others_only_so_many_are_kept() -> None:
    fairness = CostFairness()
    for number in range(3 * MOST_TENANTS):
        waiting = Waiting(number, 0, str(number), 0, 0.0, 0.0, cost_seconds=1.0)
        fairness.dispatched(waiting, 0.0)
        fairness.ended(waiting, 1.0, 0.0)
        fairness.forget(waiting.flow)
    assert len(fairness) <= MOST_TENANTS + 1


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
def test_weights_are_positive(weight: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        CostFairness({"a": weight})


class TwoPlaces(Backlog):
    """A backlog of which `bound` waits for an endpoint of its own while that is `shut`."""

    shut = True

    def serve(self) -> Waiting:
        heads = {name: head for name, head in self.heads.items() if not (self.shut and name == "bound")}
        chosen = self.fairness.choose(heads, 0.0)
        assert chosen is not None
        waiting = heads[chosen]
        self.fairness.dispatched(waiting, 0.0)
        self._next(chosen)
        return waiting


def test_what_comes_while_a_flow_waits_for_other_endpoints_begins_beside_those_that_are_served() -> None:
    backlog = TwoPlaces(CostFairness(), random.Random(1), {"bound": [1.0], "busy": [1.0], "new": [1.0]})
    backlog.joins("bound")
    backlog.joins("busy")
    for _ in range(100):
        backlog.serve()
    backlog.joins("new")
    assert [backlog.serve().flow for _ in range(10)].count("new") == 5


def test_a_flow_that_waited_for_other_endpoints_has_saved_up_nothing_and_lost_nothing() -> None:
    backlog = TwoPlaces(CostFairness(), random.Random(1), {"bound": [1.0], "busy": [1.0], "dear": [5.0]})
    backlog.shut = False
    for name in ("bound", "busy", "dear"):
        backlog.joins(name)
    for _ in range(3):
        backlog.serve()
    backlog.shut = True
    for _ in range(100):
        backlog.serve()
    backlog.shut = False
    flows = [backlog.serve().flow for _ in range(22)]
    assert 8 <= flows.count("bound") <= 10
    assert 8 <= flows.count("busy") <= 11
