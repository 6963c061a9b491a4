"""Ready endpoints whose load is unknown: served by what is in flight, after those that are known, or refused."""

import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.endpoint import DiscoveryState, Objective, ObjectKey, Phase
from infscale.metrics.published.answers import group_reading
from infscale.metrics.published.catalogue import BY_NAME
from infscale.metrics.sample import HealthSample, Reading
from infscale.metrics.saturation import SaturationKind, SaturationSettings
from infscale.metrics.snapshot import PoolSettings
from infscale.process.connecting import REFUSED
from infscale.sources.health_source import HEALTH
from picker.directing.candidates import takes_requests
from picker.directing.director_books import DirectorSettings
from picker.epp_config.loader import load_picker_config
from picker.epp_config.presets import PRESETS
from picker.request import Reason, Rejection
from tests.fakes.pools import POOL, headers
from tests.fakes.samples import engine_sample
from tests.picker.directing.test_director import REFUSING, Bench, ask, done, get

LOST = 100.0
"""A second at which nothing is fresh any more."""

CONFIGURATIONS = {
    **PRESETS,
    "every scorer of load": """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- {type: queue-scorer}
- {type: running-requests-size-scorer}
- {type: load-aware-scorer}
- {type: kv-cache-utilization-scorer}
- {type: latency-scorer}
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: queue-scorer}
  - {pluginRef: running-requests-size-scorer}
  - {pluginRef: load-aware-scorer}
  - {pluginRef: kv-cache-utilization-scorer}
  - {pluginRef: latency-scorer}
""",
    **{
        kind: "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"
        f"plugins: [{{type: {kind}}}, {{type: max-score-picker}}]\n"
        f"schedulingProfiles: [{{name: default, plugins: [{{pluginRef: {kind}}}, {{pluginRef: max-score-picker}}]}}]\n"
        for kind in ("queue-scorer", "running-requests-size-scorer", "kv-cache-utilization-scorer", "latency-scorer")
    },
}


@pytest.mark.parametrize("config", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_a_burst_spreads_by_what_is_in_flight_where_nothing_else_is_known(config: str) -> None:
    bench = Bench(4, config)
    for row, each in enumerate(bench.state.endpoints):
        # Stale values that would send everything to the first endpoint.
        bench.scrape(each, waiting=100.0 * row, kv=0.2 * row)
    prompts = [random.Random(number).randbytes(400) for number in range(80)]
    picks = Counter(bench.routed(ask(prompt), LOST).destinations[0] for prompt in prompts)
    assert sorted(picks.values()) == [20] * 4
    assert bench.director.stats.unknown_load == 80


def test_the_shared_prefix_goes_where_it_is_cached() -> None:
    bench = Bench(4)
    prompt = random.Random(5).randbytes(4096)
    first = bench.routed(ask(prompt), LOST)
    bench.director.finished(ask(prompt), first, done(), LOST)
    again = bench.routed(ask(prompt), LOST)
    assert (again.destinations[0], again.prefix_hit_ratio) == (first.destinations[0], 1.0)


LORA = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins: [{type: lora-affinity-scorer}, {type: max-score-picker}]
schedulingProfiles: [{name: default, plugins: [{pluginRef: lora-affinity-scorer}, {pluginRef: max-score-picker}]}]
"""


def test_what_servers_say_of_themselves_counts_where_pages_say_nothing() -> None:
    bench = Bench(4, LORA)
    of = bench.state.endpoints
    bench.store.record_beside(HEALTH, of[1].key, HealthSample(True, frozenset({"sql-lora"}), 15.0), LOST)
    bench.store.record_beside(HEALTH, of[2].key, HealthSample(False, frozenset({"sql-lora"}), 15.0), LOST)
    picked = {bench.routed(ask(model="sql-lora"), LOST).destinations[0] for _ in range(10)}
    assert picked == {bench.authority(1)}
    for row in (0, 1, 3):
        bench.store.record_beside(HEALTH, of[row].key, HealthSample(False, frozenset(), 15.0), LOST)
    refused = bench.director.direct(ask(model="sql-lora"), LOST)
    assert isinstance(refused, Rejection)
    assert refused.reason is Reason.NO_ENDPOINTS


def test_fresh_ones_go_first_and_then_nobody_is_served_blindly() -> None:
    bench = Bench(3)
    bench.scrape(bench.state.endpoints[1], at=LOST, waiting=50.0)
    assert {bench.routed(ask(), LOST).destinations for _ in range(20)} == {(bench.authority(1),)}
    assert bench.director.stats.unknown_load == 0


def test_a_hint_or_a_filter_that_leaves_no_fresh_one_is_served_by_the_others() -> None:
    config = (
        "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins: [{type: header-based-testing-filter}]\n"
    )
    for given_config, request in (
        (None, ask(subset=("10.0.0.1",))),
        (config, ask(given=headers(test_epp_endpoint_selection="10.0.0.1"))),
    ):
        bench = Bench(2, given_config)
        bench.scrape(bench.state.endpoints[1], at=LOST)
        assert bench.routed(request, LOST).destinations == (bench.authority(0),)
        assert bench.director.stats.unknown_load == 1
        strict = Bench(2, given_config, REFUSING)
        strict.scrape(strict.state.endpoints[1], at=LOST)
        assert strict.refused(request, LOST).status in (429, 503)


def test_only_ready_endpoints_that_are_awake_are_served() -> None:
    phases = (Phase.STARTING, Phase.READY, Phase.DRAINING, Phase.READY)
    bench = Bench(4, phases=phases)
    bench.store.record_scrape(bench.state.endpoints[3].key, engine_sample(0.0, 0.0, 0.0, asleep=True), 1.0)
    for request in (ask(), get()):
        assert {bench.routed(request, LOST).destinations for _ in range(20)} == {(bench.authority(1),)}
    bench.store.record_scrape(bench.state.endpoints[1].key, engine_sample(0.0, 0.0, 0.0, asleep=True), 1.0)
    for request in (ask(), get()):
        assert bench.refused(request, LOST).message.endswith("all of 2 ready endpoints say that they are asleep")


@pytest.mark.parametrize(
    ("causes", "why"),
    [
        pytest.param((), "(none has reported yet)", id="not looked at yet"),
        pytest.param(
            (REFUSED, REFUSED), "(none has reported yet; scraping failed: connection refused)", id="one cause"
        ),
        pytest.param(
            ("HTTP 404", REFUSED),
            "(none has reported yet; scraping failed: HTTP 404 and for other reasons)",
            id="two causes",
        ),
    ],
)
def test_who_refuses_says_why(causes: tuple[str, ...], why: str) -> None:
    bench = Bench(0, settings=REFUSING)
    full = Bench(2)
    bench.sync(full.state)
    for each, cause in zip(bench.state.endpoints, causes, strict=False):
        bench.store.record_failure(each.key, cause, 1.0)
    answer = bench.refused(ask(), LOST)
    assert (answer.status, answer.dropped_reason) == (503, "rejected-no-endpoints")
    assert answer.message.endswith(f"none of 2 ready endpoints has reported its load within 2 s {why}")
    assert full.refused(ask(subset=()), LOST).status == 503


@pytest.mark.parametrize(("settings", "shed"), [(None, False), (REFUSING, True)])
def test_unknown_is_not_saturated_where_it_is_served(settings: DirectorSettings | None, shed: bool) -> None:
    for config in (None, PRESETS["legacy-v0.3"], PROBABILISTIC):
        bench = Bench(2, config, settings)
        objective = Objective(ObjectKey("default", "batch"), -1, "pool")
        bench.sync(DiscoveryState(bench.state.endpoints, (bench.pool,), (objective,)))
        answers = [
            bench.director.direct(ask(given=headers(x_llm_d_inference_objective="batch")), LOST) for _ in range(40)
        ]
        assert all(hasattr(each, "status") == shed for each in answers)


PROBABILISTIC = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins: [{type: probabilistic-admitter}, {type: queue-scorer}]
"""


def test_a_saturated_pool_sheds_beside_endpoints_of_unknown_load() -> None:
    bench = Bench(3)
    objective = Objective(ObjectKey("default", "batch"), -1, "pool")
    bench.sync(DiscoveryState(bench.state.endpoints, (bench.pool,), (objective,)))
    for row in (0, 1):
        bench.scrape(bench.state.endpoints[row], at=LOST, waiting=9.0)
    batch = ask(given=headers(x_llm_d_inference_objective="batch"))
    assert bench.refused(batch, LOST).dropped_reason == "rejected-saturated"
    assert bench.routed(ask(), LOST).destinations[0] != bench.authority(2)


_ages = st.lists(st.none() | st.floats(90.0, 100.0), min_size=4, max_size=4)
_queues = st.lists(st.none() | st.floats(0.0, 20.0), min_size=4, max_size=4)


@given(_ages, _queues, st.sampled_from(SaturationKind))
def test_what_is_published_and_who_is_saturated_is_the_same_whatever_is_served(
    scraped_at: list[float | None], waiting: list[float | None], kind: SaturationKind
) -> None:
    bench = Bench(4)
    bench.store.configure(POOL, PoolSettings(saturation=SaturationSettings(kind)))
    for each, at, queue in zip(bench.state.endpoints, scraped_at, waiting, strict=True):
        if at is not None:
            bench.scrape(each, at=at, waiting=queue, kv=None)
    snapshot = bench.store.snapshot(POOL)
    assert snapshot is not None
    known = snapshot.candidates(LOST).tolist()
    assert set(np.flatnonzero(snapshot.saturated(LOST)).tolist()) <= set(known)
    saturation = snapshot.saturation(LOST)
    assert [row for row in range(4) if not np.isnan(saturation[row])] == known
    before = group_reading(BY_NAME["saturation_ratio"], snapshot, LOST)
    chosen = bench.routed(ask(), LOST).destinations[0]
    row = snapshot.state.index[chosen]
    assert row in known or not known
    if kind is SaturationKind.UTILIZATION:
        after = bench.store.snapshot(POOL)
        assert after is not None
        again = group_reading(BY_NAME["saturation_ratio"], after, LOST)
        assert again == before
        assert isinstance(again, Reading) == (2 * len(known) >= 4)


@pytest.mark.parametrize(
    ("unknown_load", "failed", "takes"),
    [("serve", True, True), ("serve", False, False), ("refuse", True, False)],
)
def test_a_pool_takes_requests_once_its_load_is_known_to_be_unknown(
    unknown_load: str, failed: bool, takes: bool
) -> None:
    bench = Bench(0)
    bench.sync(Bench(1).state)
    if failed:
        bench.store.record_failure(bench.state.endpoints[0].key, "HTTP 404", 0.0)
    snapshot = bench.store.snapshot(POOL)
    assert snapshot is not None
    assert takes_requests(snapshot, 1.0, unknown_load) == takes  # type: ignore[arg-type] # one of the two
    bench.scrape(bench.state.endpoints[0], at=1.0)
    fresh = bench.store.snapshot(POOL)
    assert fresh is not None
    assert takes_requests(fresh, 1.0, "refuse")


def test_a_configuration_that_wants_fresh_metrics_gets_no_others() -> None:
    config = (
        "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins: [{type: fresh-metrics-filter}]\n"
        "schedulingProfiles: [{name: default, plugins: [{pluginRef: fresh-metrics-filter}]}]\n"
    )
    assert load_picker_config(config, "epp.yaml")
    assert Bench(2, config).refused(ask(), LOST).status == 429


def test_charges_of_a_blind_decision_are_released() -> None:
    bench = Bench(2)
    request = ask()
    decision = bench.routed(request, LOST)
    assert sum(bench.in_flight()[0]) == 1
    bench.director.finished(replace(request), decision, done(), LOST)
    assert bench.in_flight() == ([0.0, 0.0], [0.0, 0.0])


def test_what_is_booked_and_recorded_of_a_blind_decision() -> None:
    bench = Bench(1)
    bench.scrape(bench.state.endpoints[0], models=("served",))
    for model, booked in (("served", "served"), ("made up", "")):
        decision = bench.routed(ask(model=model), LOST)
        assert decision.charge is not None
        assert decision.charge.model == booked
        record = bench.director.records[-1]
        assert (record.observed_age_seconds, record.destinations) == (None, decision.destinations)
