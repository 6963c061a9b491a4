"""What triggers are answered: values as the adapter's external metrics have them, and never 0 for what is unknown."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.answering.store_provider import StoreProvider
from adapter.api.paths import ExternalRequest, parse
from adapter.errors import Unavailable
from infscale.endpoint import ObjectKey, Phase
from infscale.keda.errors import InvalidTrigger, NotKnown, NotThere, ScalerError
from infscale.keda.external_scaler import ScalerSettings
from infscale.keda.last_answers import MOST_KEPT
from infscale.labels import model_key
from infscale.metrics.published.catalogue import PUBLISHED
from infscale.metrics.published.metric_table import FormulaSettings
from infscale.metrics.sample import Histogram
from infscale.metrics.saturation import SaturationSettings
from infscale.metrics.snapshot import PoolSettings
from tests.adapter.support import E1
from tests.fakes.counts import counts_of
from tests.keda.pools import CHAT, MODEL, STALE, WINDOW, Pools, asked, server

WAITING = {"metric": "waiting_requests", "pool": "chat", "target": "5"}
SLO = {"slo": "ttft_p90=1s", "pool": "chat"}
FORMULA = FormulaSettings("pressure_ratio", "max(waiting_requests / 3, kv_cache_utilization_ratio / 0.7)", "ratio")


def refusal(pools: Pools, metadata: Mapping[str, str]) -> tuple[str, str]:
    with pytest.raises(ScalerError) as caught:
        pools.value(metadata)
    return caught.value.code, str(caught.value)


# Values


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 1)), min_size=1, max_size=4), st.sampled_from(PUBLISHED))
def test_values_are_those_of_the_adapter_s_external_metrics(load: list[tuple[float, float]], of: object) -> None:
    metric = str(getattr(of, "name", ""))
    pools = Pools([server(number) for number in range(len(load))])
    for endpoint, (waiting, kv) in zip(pools.endpoints, load, strict=True):
        pools.scrape(waiting, 1.0, kv, endpoint)
    asked = parse("GET", f"{E1}/namespaces/llm/{metric}", f"labelSelector=pool%3Dchat,model_key%3D{model_key(MODEL)}")
    if not getattr(of, "per_model", False):
        asked = parse("GET", f"{E1}/namespaces/llm/{metric}", "labelSelector=pool%3Dchat")
    assert isinstance(asked, ExternalRequest)
    metadata = {"metric": metric, "pool": "chat", "target": "1"}
    metadata |= {"model": MODEL} if getattr(of, "per_model", False) else {}
    cause = ""
    try:
        [item] = StoreProvider(pools.store).external(asked, pools.now).items
    except Unavailable as error:
        cause = str(error).rpartition("unknown now: ")[2]
    else:
        assert pools.value(metadata) == item.reading.value
    if cause:
        code, words = refusal(pools, metadata)
        assert (code, cause in words) == ("UNAVAILABLE", True)


def test_pools_of_a_namespace_are_added_up_where_that_has_a_meaning() -> None:
    pools = Pools([server(0), server(0, "code")], names=("chat", "code"))
    pools.scrape(waiting=3.0)
    assert pools.value({"metric": "waiting_requests", "target": "5"}) == 6.0
    code, words = refusal(pools, {"metric": "saturation_ratio", "target": "1"})
    assert code == "INVALID_ARGUMENT"
    assert words == (
        "ScaledObject llm/chat: pool: is missing: saturation_ratio (mean) of 2 pools has no meaning when added up"
    )


@pytest.mark.parametrize("model", [MODEL, model_key(MODEL)])
def test_a_model_by_its_name_or_key(model: str) -> None:
    pools = Pools([server(0)])
    pools.scrape(waiting=3.0)
    assert pools.value({**WAITING, "model": model}) == 3.0


def test_a_model_that_is_not_served() -> None:
    pools = Pools([server(0), server(1)])
    pools.scrape(at=server(0))
    assert refusal(pools, {**WAITING, "model": "llama"}) == (
        "UNAVAILABLE",
        "ScaledObject llm/chat: the metric waiting_requests of model 'llama' is unknown now: "
        "1 of 2 ready endpoints of llm/chat were never read",
    )
    pools.scrape()
    code, words = refusal(pools, {**WAITING, "model": "llama"})
    assert (code, words) == (
        "NOT_FOUND",
        f"ScaledObject llm/chat: model: no endpoint serves 'llama'; there are {MODEL}",
    )
    code, words = refusal(pools, {"metric": "saturation_ratio", "pool": "chat", "target": "1", "model": MODEL})
    assert (code, words) == ("NOT_FOUND", "ScaledObject llm/chat: model: saturation_ratio is not split by model")


def test_formulas() -> None:
    pools = Pools([server(0)], formulas=[FORMULA])
    pools.scrape(waiting=6.0, kv=0.7)
    assert pools.value({"metric": "pressure_ratio", "pool": "chat", "target": "1"}) == 2.0


def test_stale_values_are_refused_with_their_age_and_cause() -> None:
    pools = Pools([server(0), server(1)])
    pools.scrape(waiting=3.0)
    pools.now += STALE + 1.5
    for endpoint in pools.endpoints:
        pools.store.record_failure(endpoint.key, "timed out after 0.4 s", pools.now)
    assert refusal(pools, WAITING) == (
        "UNAVAILABLE",
        "ScaledObject llm/chat: the metric waiting_requests of llm/chat is unknown now: only 0 of 2 ready endpoints "
        "of llm/chat have a value fresher than 2 s; the oldest is 3.5 s old: timed out after 0.4 s",
    )
    code, words = refusal(pools, SLO)
    assert code == "UNAVAILABLE"
    assert words.startswith(
        "ScaledObject llm/chat: the load of llm/chat is unknown now: ttft_p90=1s: unknown, only 0 of 2 "
    )
    assert "the oldest is 3.5 s old: timed out after 0.4 s" in words
    # The target depends on no value.
    assert (pools.target(WAITING), pools.target(SLO)) == (5.0, 1.0)


def test_pools_that_are_not_there() -> None:
    pools = Pools(names=("chat", "chat-large"))
    code, words = refusal(pools, {**WAITING, "pool": "chatt"})
    assert (code, words) == (
        "NOT_FOUND",
        "ScaledObject llm/chat: pool: there is no InferencePool llm/chatt that infscale knows; did you mean chat?",
    )
    assert refusal(Pools(names=()), WAITING)[0] == "UNAVAILABLE"
    pools = Pools(settings=ScalerSettings(other_namespaces=True))
    code, words = refusal(pools, {**WAITING, "namespace": "other"})
    assert (code, words) == (
        "NOT_FOUND",
        "ScaledObject llm/chat: there is no InferencePool in namespace other that infscale knows",
    )


# Empty pools


@pytest.mark.parametrize("metric", ["waiting_requests", "time_to_first_token_p90_seconds", "pressure_ratio"])
def test_an_empty_pool_that_is_not_asked_for_has_no_load(metric: str) -> None:
    """An error would have KEDA scale up to the fallback of the ScaledObject."""
    pools = Pools(formulas=[FORMULA])
    metadata = {"metric": metric, "pool": "chat", "target": "1"}
    assert pools.value(metadata) == 0.0
    pools.ask()
    code, words = refusal(pools, metadata)
    assert code == "UNAVAILABLE"
    assert "no ready endpoint" in words or "never" in words
    pools.now += 301
    assert pools.value(metadata) == 0.0


def test_what_is_not_of_requests_is_unknown_of_an_empty_pool() -> None:
    assert refusal(Pools(), {"metric": "model_load_seconds", "pool": "chat", "target": "1"})[0] == "UNAVAILABLE"


def test_pods_that_start_have_no_value() -> None:
    pools = Pools([server(0, phase=Phase.STARTING)])
    assert refusal(pools, WAITING)[0] == "UNAVAILABLE"
    # With goals it is known that nothing is to change.
    assert pools.value(SLO) == 1.0


# Targets


@pytest.mark.parametrize(
    ("metric", "target"), [("waiting_requests", 3.0), ("in_flight_requests", 40.0), ("in_flight_tokens", 1e6)]
)
def test_without_a_target_it_is_what_one_pod_takes(metric: str, target: float) -> None:
    saturation = SaturationSettings(queue_depth_threshold=3.0, max_in_flight_requests=40.0)
    pools = Pools(judged={CHAT: PoolSettings(saturation=saturation)})
    metadata = {"metric": metric, "pool": "chat"}
    assert pools.target(metadata) == target
    pools.judged[CHAT] = PoolSettings(saturation=SaturationSettings(queue_depth_threshold=7.0))
    assert pools.target({"metric": "waiting_requests", "pool": "chat"}) == 7.0
    pools.discover(server(0), server(0, rank=1), server(1), server(1, rank=1))
    assert pools.target({"metric": "waiting_requests", "pool": "chat"}) == 14.0


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"metric": "gpu_memory_used_bytes", "pool": "chat"}, "target: is missing: how much of gpu_memory_used_bytes"),
        ({"metric": "saturation_ratio", "pool": "chat"}, "target: is missing"),
        ({"metric": "waiting_requests"}, "; with pool it is what one of its pods takes"),
    ],
)
def test_targets_that_have_to_be_given(metadata: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidTrigger, match=words):
        Pools().target(metadata)


# Replicas of load


def observed(seconds: float, count: int) -> dict[str, Any]:
    """So many first tokens that took so long, since the engine started."""
    bounds = (0.1, 0.5, 1.0, 2.0, 4.0, float("inf"))
    counts = np.array([count * (bound >= seconds) for bound in bounds], dtype=float)
    histogram = Histogram(bounds, counts, seconds * count)
    return {"counts": counts_of({("time_to_first_token", MODEL): histogram})}  # type: ignore[arg-type]


def busy(pools: Pools, seconds: float, waiting: float, running: float, kv: float) -> None:
    """Half a minute of first tokens that took `seconds` each."""
    for step in range(7):
        pools.scrape(waiting, running, kv, **observed(seconds, 100 * step))
        pools.now += 5.0
    pools.now -= 5.0


def test_a_pool_that_misses_its_goal_is_more_replicas_of_load() -> None:
    pools = Pools([server(0), server(1)])
    busy(pools, 1.4, waiting=2.0, running=20.0, kv=0.5)
    slow = pools.value(SLO)
    assert 2.0 < slow <= 4.0
    assert pools.value({**SLO, "slo": "ttft_p90=4s"}) <= 2.0
    assert pools.value({**SLO, "slo": "ttft_p90=4s, ttft_p50=500ms"}) == 4.0
    assert pools.value({**SLO, "model": MODEL}) == pools.value({**SLO, "model": model_key(MODEL)}) == slow


def test_what_waits_in_the_picker_is_slow_although_engines_are_fast() -> None:
    pools = Pools([server(0), server(1)])
    busy(pools, 0.05, waiting=0.0, running=20.0, kv=0.4)
    fast = pools.value(SLO)
    book = pools.store.open_queue(CHAT, pools.now)
    for _ in range(10):
        book.came(book.place(MODEL, 100.0, pools.now - 5.0))
    assert fast < 2.0
    assert pools.value(SLO) == pools.value({**SLO, "slo": "queue_p90=1s"}) == 4.0
    assert pools.value({**SLO, "slo": "ttft_mean=1s", "model": MODEL}) == 4.0
    assert pools.value({**SLO, "model": "other"}) < 4.0, "it waits for another model"


def test_a_slow_model_that_requests_wait_for_in_the_picker_gets_more_replicas() -> None:
    """With one request per replica none would wait for another; those that wait in the picker do."""
    pools = Pools([server(0)])
    busy(pools, 1.4, waiting=0.0, running=1.0, kv=0.1)
    assert pools.value(SLO) == 1.0
    book = pools.store.open_queue(CHAT, pools.now)
    for _ in range(5):
        book.came(book.place(MODEL, 100.0, pools.now - 5.0))
    assert pools.value(SLO) == 2.0


def test_what_was_answered_is_kept_with_what_it_was_made_of() -> None:
    pools = Pools([server(0), server(1, phase=Phase.STARTING)])
    busy(pools, 0.05, waiting=0.0, running=20.0, kv=0.4)
    value = pools.value(SLO)
    refusal(pools, {**WAITING, "pool": "chatt"})
    pools.now += 1.5
    wall = datetime(2026, 8, 20, 10, tzinfo=UTC)
    refused, answered = pools.scaler.document(pools.now, wall, {})["triggers"]  # type: ignore[misc]
    assert answered == {
        "time": "2026-08-20T09:59:58.500+00:00",
        "age_seconds": 1.5,
        "scaled_object": "llm/chat",
        "pool": "llm/chat",
        "model": None,
        "metric": "infscale_replicas_of_load",
        "target": 1.0,
        "value": value,
        "why": "1 pods are ready, 1 start; ttft_p90=1s: 0.09; saturation=0.8: 0.5",
        "active": None,
        "active_age_seconds": None,
        "why_not_known": "",
        "streams": 0,
    }
    assert (refused["value"], refused["pool"]) == (None, "llm/chatt")
    assert refused["why"].startswith("pool: there is no InferencePool llm/chatt")
    for number in range(MOST_KEPT + 10):
        pools.value({**WAITING, "target": str(number + 1)})
    assert len(pools.scaler.document(pools.now, wall, {})["triggers"]) == MOST_KEPT  # type: ignore[arg-type]


def test_whether_a_trigger_was_told_to_be_active_is_kept_beside_its_value() -> None:
    pools = Pools([server(0)])
    busy(pools, 0.05, waiting=0.0, running=20.0, kv=0.4)
    assert pools.active(WAITING)
    with pytest.raises(NotThere):
        pools.active({**WAITING, "pool": "chatt"})
    pools.now += 1.5
    streams = {pools.scaler.trigger(asked(WAITING)): 2}
    refused, told = pools.scaler.document(pools.now, datetime(2026, 8, 20, 10, tzinfo=UTC), streams)["triggers"]  # type: ignore[misc]
    assert (told["active"], told["active_age_seconds"], told["streams"]) == (True, 1.5, 2)
    assert (told["time"], told["value"]) == (None, None), "its value was not asked for"
    assert (refused["active"], refused["streams"]) == (None, 0)
    assert refused["why_not_known"].startswith("pool: there is no InferencePool llm/chatt")


def test_a_full_pool_is_more_replicas_of_load_although_it_is_fast() -> None:
    pools = Pools([server(0), server(1)])
    busy(pools, 0.05, waiting=0.0, running=20.0, kv=0.8)
    assert pools.value(SLO) == 2.5
    assert pools.value({**SLO, "saturation": "0.5"}) == 4.0


def test_a_pool_with_slack_and_an_idle_one_go_down_by_one() -> None:
    pools = Pools([server(number) for number in range(4)])
    busy(pools, 0.05, waiting=0.0, running=2.0, kv=0.05)
    assert pools.value(SLO) == 3.0
    for _ in range(8):
        pools.scrape(0.0, 0.0, 0.0, **observed(0.05, 600))
        pools.now += 5.0
    pools.scrape(0.0, 0.0, 0.0, **observed(0.05, 600))
    assert pools.value(SLO) == 3.0


def test_a_latency_that_is_unknown_holds_the_replicas() -> None:
    pools = Pools([server(0), server(1)])
    pools.scrape(0.0, 1.0, 0.1)
    assert pools.value(SLO) == 2.0


def test_ranks_of_one_pod_are_one_replica() -> None:
    pools = Pools([server(number, rank=rank) for number in range(2) for rank in range(4)])
    pools.scrape(0.0, 1.0, 0.1)
    assert pools.value(SLO) == 2.0


# Activity


@pytest.mark.parametrize("metadata", [WAITING, SLO, {"metric": "waiting_requests", "target": "5"}])
def test_a_request_for_an_empty_pool_activates_for_a_while(metadata: dict[str, str]) -> None:
    pools = Pools(settings=ScalerSettings(activation_seconds=60.0))
    assert not pools.active(metadata)
    pools.ask()
    assert pools.active(metadata)
    pools.now += 60.0
    assert pools.active(metadata)
    pools.now += 0.1
    assert not pools.active(metadata)


def test_another_pool_s_requests_activate_nothing() -> None:
    pools = Pools(names=("chat", "code"))
    pools.ask("code")
    assert not pools.active(WAITING)
    assert pools.active({**WAITING, "pool": "code"})


def test_load_keeps_active_and_only_its_known_end_ends_that() -> None:
    pools = Pools([server(0)])
    pools.scrape(running=1.0)
    assert pools.active(SLO)
    pools.now += STALE + 1
    assert pools.active(SLO)
    pools.scrape()
    assert not pools.active(SLO)


def test_an_activation_is_what_a_value_has_to_be_above() -> None:
    pools = Pools([server(0)])
    pools.scrape(kv=0.4)
    metadata = {"metric": "kv_cache_utilization_ratio", "pool": "chat", "target": "0.8"}
    assert not pools.active(metadata)
    assert pools.active({**metadata, "activation": "0.3"})
    assert not pools.active({**metadata, "activation": "0.4"})
    pools.now += STALE + 1
    pools.discover(server(0, phase=Phase.STARTING))
    assert not pools.active({**metadata, "activation": "0.3"})


def test_an_activation_in_requests_counts_those_for_an_empty_pool() -> None:
    pools = Pools()
    metadata = {**WAITING, "activation": "2"}
    for _ in range(2):
        pools.ask()
        assert not pools.active(metadata)
    pools.ask()
    assert pools.active(metadata)
    assert pools.active({**WAITING, "metric": "in_flight_tokens", "activation": "1000"})
    pools.now += WINDOW + 1
    assert pools.active(metadata)


def test_activity_of_what_is_not_there() -> None:
    with pytest.raises(NotThere, match="no InferencePool llm/other"):
        Pools().active({**WAITING, "pool": "other"})
    with pytest.raises(NotKnown, match=r"no endpoint and no InferencePool was discovered yet"):
        Pools(names=()).active(WAITING)


def test_a_pool_is_known_by_namespace_and_name() -> None:
    pools = Pools(settings=ScalerSettings(other_namespaces=True))
    with pytest.raises(NotThere):
        pools.active({**WAITING, "namespace": "other"})
    assert ObjectKey("llm", "chat") == CHAT
