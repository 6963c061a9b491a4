"""Whole runs: the same for the same seed, each request ends once, and nothing is left on any book."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from infscale.sim.load.mixed_load import MixedLoad
from infscale.sim.load.trace_load import TraceLoad, TracePlay
from infscale.sim.load.traces import TraceRequest
from infscale.sim.load.traffic import LoadTarget
from infscale.sim.settings import Fault, FaultKind
from infscale.simulate.policy import named_policy
from infscale.simulate.run_result import RequestTable, RunResult
from infscale.simulate.scenario import PlannedFault, Scenario
from infscale.simulate.simulation import Simulation, simulate
from tests.simulate.scenarios import SharedPrefixes, scenario

POLICIES = ("infscale", "reference@50ms", "sticky-until-saturated", "legacy-v0.3", "round-robin", "random")


def columns(result: RunResult) -> Iterator[tuple[str, object]]:
    """All that a run says but how long it took."""
    for name in RequestTable.__dataclass_fields__:
        cells = getattr(result.requests, name)
        yield name, cells.tobytes() if isinstance(cells, np.ndarray) else cells
    yield from ((name, getattr(result, name)) for name in ("servers", "scaling", "seconds", "events", "counts"))


def nothing_left(run: Simulation) -> None:
    """No request is on a book of the product, the gateway, or a server."""
    assert not run.gateway.under_way
    assert all(not each.under_way and not each.engine.waiting + each.engine.running for each in run.fleet.everyone)
    if run.product is not None:
        (snapshot,) = run.product.store.snapshots()
        assert snapshot.in_flight_requests.tolist() == [0.0] * len(snapshot)
        assert snapshot.in_flight_tokens.tolist() == [0.0] * len(snapshot)


@pytest.mark.parametrize("policy", [*POLICIES, "least-request"])
def test_a_run_repeats_and_ends_each_request_once(policy: str) -> None:
    """On undisturbed servers every request is answered in full."""
    chosen, played = named_policy(policy), scenario(traffic=SharedPrefixes(requests=60))
    run = Simulation(played, chosen, 3)
    first = run.run()
    assert dict(columns(first)) == dict(columns(simulate(played, chosen, 3)))
    assert dict(columns(first)) != dict(columns(simulate(played, chosen, 4)))
    table = first.requests
    assert len(table) == 60
    assert table.answered.all()
    assert (table.arrived < table.first).all()
    assert (table.first < table.ended).all()
    nothing_left(run)


FAULTS = [
    (Fault(FaultKind.FREEZE_METRICS, 3.0), ()),
    (Fault(FaultKind.LIE, 3.0), ()),
    (Fault(FaultKind.REFUSE, 3.0), ("no connection", "stream cut")),
    (Fault(FaultKind.SLOW_START, 3.0), ("no connection", "stream cut")),
    (Fault(FaultKind.ERROR, 3.0, status=500, ratio=0.5), ("status 500",)),
    (Fault(FaultKind.HANG, 3.0), ("stream cut",)),
    (Fault(FaultKind.HANG), ("timeout",)),
    (Fault(FaultKind.DIE, 3.0, after_tokens=3, ratio=0.7), ("stream cut",)),
    (Fault(FaultKind.SLEEP, 3.0), ("status 503",)),
]


@pytest.mark.parametrize(("fault", "failures"), FAULTS, ids=[f"{each.kind.value}-{each.seconds}" for each, _ in FAULTS])
@pytest.mark.parametrize("policy", ["infscale", "round-robin"])
def test_whatever_fails_ends_once_and_leaves_no_book_open(policy: str, fault: Fault, failures: tuple[str, ...]) -> None:
    """Cut, refused, hanging and lost requests included; clients leave what never answers."""
    faults = tuple(PlannedFault(2.0 + number, number, fault) for number in range(2))
    run = Simulation(scenario(faults=faults, patience_seconds=20.0), named_policy(policy), 1)
    result = run.run()
    assert len(result.requests) == 120
    nothing_left(run)
    assert set(result.requests.failures) <= set(failures)
    if policy == "round-robin":
        assert result.requests.failures == failures


def mean_ttft(played: Scenario, policy: str) -> float:
    return float(simulate(played, named_policy(policy), 1).requests.ttft.mean())


def test_following_prefixes_beats_turns_where_prefixes_are_long() -> None:
    """They are more than one server can cache."""
    played = scenario(traffic=SharedPrefixes(requests=300, rate=14.0))
    assert mean_ttft(played, "infscale") < 0.6 * mean_ttft(played, "round-robin")


def test_hits_are_the_engines_own() -> None:
    """The picker believes in about what the engines say."""
    result = simulate(scenario(), named_policy("infscale"), 1)
    true = result.requests.cached_tokens.sum() / result.requests.prompt_tokens.sum()
    believed = result.counts["matched_tokens"] / result.counts["prompt_tokens"]
    assert true > 0.4
    assert believed == pytest.approx(true, abs=0.1)


@pytest.mark.parametrize("known", [False, True])
def test_the_product_learns_the_speed_of_servers_from_their_pages(known: bool) -> None:
    """With labels that name their GPUs it has an idea before the first request."""
    run = Simulation(scenario(traffic=SharedPrefixes(requests=600), known_gpus=known), named_policy("infscale"), 1)
    assert run.product is not None
    store = run.product.store
    before: list[bool] = []
    run.clock.at(0.0, lambda _: before.append(bool(np.isnan(store.snapshots()[0].columns.steps.base).any())), None)
    run.run()
    assert before == [not known]
    assert np.isfinite(store.snapshots()[0].columns.steps.base).all()


def test_without_requests_a_run_is_over_at_once() -> None:
    result = simulate(scenario(traffic=SharedPrefixes(requests=0)), named_policy("infscale"), 1)
    assert len(result.requests) == 0
    assert result.events == 0


def test_a_class_that_is_sheddable_waits_by_default_and_keeps_nothing_from_others() -> None:
    traffic = SharedPrefixes(requests=300, rate=40.0, prefixes=300, batch_ratio=0.5)
    shed = scenario(2, traffic, priorities={"batch": -1})
    at_once = simulate(shed, named_policy("infscale@unqueued"), 1).requests
    queued = simulate(shed, named_policy("infscale"), 1).requests
    batch = queued.request_class == queued.classes.index("batch")
    assert not queued.refused[~batch].any()
    assert queued.answered[batch].sum() > at_once.answered[batch].sum()
    assert queued.ttft[~batch].mean() < 0.9 * at_once.ttft[~batch].mean()


def test_a_class_that_is_sheddable_is_refused_while_the_pool_is_saturated() -> None:
    """Two servers, and more than they can do: what may wait is turned away, and what may not comes through sooner."""
    traffic = SharedPrefixes(requests=300, rate=40.0, prefixes=300, batch_ratio=0.5)
    at_once = named_policy("infscale@unqueued")
    equal = simulate(scenario(2, traffic), at_once, 1).requests
    shed = simulate(scenario(2, traffic, priorities={"batch": -1}), at_once, 1).requests
    batch = shed.request_class == shed.classes.index("batch")
    assert shed.failures == ("refused: saturated",)
    assert shed.refused[batch].any()
    assert not shed.refused[~batch].any()
    assert shed.ttft[~batch].mean() < 0.8 * equal.ttft[~batch].mean()


def test_lora_adapters_of_a_trace_are_loaded_where_their_requests_go_and_seen_by_the_picker() -> None:
    names = ("tuned", "other", None)
    trace = tuple(TraceRequest(0.1 * number, (), 200, 20, lora=names[number % 3]) for number in range(60))
    load = TraceLoad(LoadTarget("model"), TracePlay(), "requests.jsonl", "", trace)
    run = Simulation(replace(scenario(2), traffic=load), named_policy("infscale"), 1)
    loaded: set[str] = set()
    seen: set[str] = set()

    def look(_: None) -> None:
        assert run.product is not None
        (snapshot,) = run.product.store.snapshots()
        loaded.update(*(each.engine.running_loras() for each in run.fleet.everyone))
        seen.update(*(each.names for each in snapshot.columns.lora if each is not None))

    for number in range(60):
        run.clock.at(0.1 * number, look, None)
    assert run.run().requests.answered.all()
    assert loaded == seen == {"tuned", "other"}


def test_a_lower_class_that_waits_is_served_and_lets_the_higher_one_pass() -> None:
    """None is refused, and what does not wait for others has its first token as soon as where they are shed."""
    traffic = SharedPrefixes(requests=300, rate=40.0, prefixes=300, batch_ratio=0.5)
    shed = simulate(scenario(2, traffic, priorities={"batch": -1}), named_policy("infscale@unqueued"), 1).requests
    held = simulate(
        scenario(2, traffic, priorities={"batch": -1}), named_policy("infscale@queued@unpreempted"), 1
    ).requests
    batch = held.request_class == held.classes.index("batch")
    assert held.answered.all()
    assert np.percentile(held.ttft[~batch], 90) < 1.1 * np.percentile(shed.ttft[~batch], 90)
    assert held.ttft[batch].mean() > 2 * held.ttft[~batch].mean()


def test_at_twice_the_load_others_have_the_room_of_sheddable_requests_at_once() -> None:
    """One server with twice what it can do, half of it long answers: these are taken back, and leave its engine."""
    batch = SharedPrefixes(60, 2.5, 600, 1000, 60, output_tokens=600, batch_ratio=1.0)
    others = SharedPrefixes(60, 2.0, 600, 300, 60, output_tokens=100)
    asked = replace(scenario(1), traffic=MixedLoad((batch, others)), priorities={"batch": -1})
    found = {}
    for policy in ("infscale@queued@unpreempted", "infscale@queued"):
        run = Simulation(asked, named_policy(policy), 1)
        found[policy] = result = run.run()
        assert run.product is not None
        (snapshot,) = run.product.store.snapshots()
        assert snapshot.in_flight_requests.sum() == 0
        assert result.counts["evictions"] == np.count_nonzero(result.requests.evicted)
        (server,) = run.fleet.everyone
        assert not server.under_way
    left, taken = (each.requests for each in found.values())
    sheddable = taken.request_class == taken.classes.index("batch")
    assert not left.evicted.any()
    assert taken.evicted[sheddable].any()
    assert not taken.evicted[~sheddable].any()
    assert taken.answered[~sheddable].all()
    assert np.percentile(taken.ttft[~sheddable], 90) < 0.25 * np.percentile(left.ttft[~sheddable], 90)
    # What is taken back is work that was done for nothing.
    assert np.count_nonzero(taken.answered[sheddable]) > 0.5 * np.count_nonzero(sheddable)


def test_a_client_that_leaves_the_queue_is_sent_nowhere() -> None:
    traffic = SharedPrefixes(requests=100, rate=200.0, prefixes=100)
    run = Simulation(scenario(1, traffic, patience_seconds=1.0), named_policy("infscale@queued"), 1)
    requests = run.run().requests
    assert ((requests.server == -1) & (requests.failure >= 0)).any()
    assert run.product is not None
    (snapshot,) = run.product.store.snapshots()
    assert snapshot.in_flight_requests.sum() == 0
    assert len(requests) == 100
