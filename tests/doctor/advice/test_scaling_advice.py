"""Advice for a pool: metrics, targets and windows follow from what is known of it, and nothing in it is a fault."""

from dataclasses import replace
from typing import Any

import pytest
import yaml

from infscale.doctor.advice.advice_yaml import autoscaler, scaled_object
from infscale.doctor.advice.pool_facts import PoolFacts, of_cluster, of_state
from infscale.doctor.advice.scaling_advice import Advice, Limits, advised
from infscale.doctor.reading import scaler_objects
from infscale.doctor.reading.plain_json import Json
from infscale.doctor.rules.rule_table import findings
from infscale.doctor.view.seen_scalers import ObjectRef
from infscale.endpoint import DiscoveryState, ObjectKey, Pool
from infscale.errors import ConfigError
from infscale.metrics.published.latency_goals import read_goals
from tests.doctor import healthy as made

FACTS = PoolFacts(made.key("chat"), made.POOL.api_version, made.TARGET, 3, batch=64, load_seconds=200.0, minor=36)
TTFT = read_goals("ttft_p90=1s")


def written(advice: Advice) -> Any:
    return yaml.safe_load(autoscaler(advice))


def metrics(document: Any) -> dict[str, Any]:
    """Targets by metric."""
    sources = [each[each["type"].lower()] for each in document["spec"]["metrics"]]
    return {each["metric"]["name"]: each["target"] for each in sources}


def test_an_objective_is_kept_by_its_latency_and_by_load() -> None:
    document = written(advised(FACTS, TTFT, Limits()))
    assert metrics(document) == {
        "time_to_first_token_p90_seconds": {"type": "Value", "value": "800m"},
        "outstanding_requests": {"type": "AverageValue", "averageValue": "44"},
    }
    assert document["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "vllm"}
    assert (document["spec"]["minReplicas"], document["spec"]["maxReplicas"]) == (1, 6)
    up, down = (document["spec"]["behavior"][each] for each in ("scaleUp", "scaleDown"))
    assert up["policies"] == [{"type": "Percent", "value": 100, "periodSeconds": 200}], "as long as a model loads"
    assert down["stabilizationWindowSeconds"] == 400, "twice as long as a model loads"
    assert float(up["tolerance"].removesuffix("m")) == 100


def test_without_a_batch_size_the_kv_cache_says_when_a_pod_is_full() -> None:
    found = metrics(written(advised(replace(FACTS, batch=None), TTFT, Limits())))
    assert found["kv_cache_utilization_ratio"] == {"type": "AverageValue", "averageValue": "700m"}


def test_without_a_load_time_windows_are_those_of_usual_models() -> None:
    found = advised(replace(FACTS, load_seconds=None), TTFT, Limits())
    assert (found.up_period.value, found.down_window.value) == (60, 300)


def test_windows_stay_within_what_the_api_takes() -> None:
    found = advised(replace(FACTS, load_seconds=10_000.0), TTFT, Limits())
    assert (found.up_period.value, found.down_window.value) == (1800, 3600)


def test_a_cluster_without_the_field_gets_no_tolerance() -> None:
    for minor in (34, None):
        behavior = written(advised(replace(FACTS, minor=minor), TTFT, Limits()))["spec"]["behavior"]
        assert "tolerance" not in behavior["scaleUp"]


def test_zero_brings_the_metric_that_leads_back() -> None:
    document = written(advised(FACTS, TTFT, Limits(0, 4)))
    assert document["spec"]["minReplicas"] == 0
    assert "requests_without_endpoint" in metrics(document)


@pytest.mark.parametrize("limits", [Limits(-1), Limits(5, 4), Limits(0, 0)], ids=repr)
def test_limits_that_exclude_each_other_are_refused(limits: Limits) -> None:
    with pytest.raises(ConfigError, match="expected 0 <= min <= max"):
        advised(FACTS, TTFT, limits)


@pytest.mark.parametrize("text", ["ttft_p90=1s", "itl_p50=40ms", "queue_mean=2s", "ttft_p99=1s,itl_p90=50ms"])
@pytest.mark.parametrize("batch", [64, None])
def test_the_doctor_finds_no_fault_in_what_is_written(text: str, batch: int | None) -> None:
    advice = advised(replace(FACTS, batch=batch), read_goals(text), Limits())
    seen = scaler_objects.autoscaler(Json(written(advice)))
    assert findings(made.view(seen)) == ()


def test_every_number_has_its_reason_above_it() -> None:
    lines = autoscaler(advised(FACTS, TTFT, Limits())).splitlines()
    for at, line in enumerate(lines):
        if any(
            line.strip().startswith(key) for key in ("minReplicas", "maxReplicas", "stabilization", "policies", "toler")
        ):
            assert lines[at - 1].strip().startswith("#"), line
    assert all(len(each) <= 101 for each in lines)


def test_a_scaled_object_needs_pool_and_objective_and_no_threshold() -> None:
    advice = advised(FACTS, read_goals("ttft_p90=1s,itl_p50=40ms"), Limits(0), by_keda=True)
    document = yaml.safe_load(scaled_object(advice, "infscale-keda.infscale-system:9005"))
    spec = document["spec"]
    assert spec["triggers"] == [
        {
            "type": "external-push",
            "metadata": {
                "scalerAddress": "infscale-keda.infscale-system:9005",
                "pool": "chat",
                "slo": "ttft_p90=1s,itl_p50=40ms",
            },
        }
    ]
    assert (spec["minReplicaCount"], spec["fallback"]["replicas"]) == (0, 1)
    seen = scaler_objects.scaled_object(Json(document))
    assert findings(made.view(scaled_objects=(replace(seen, target=replace(made.TARGET, name="x")),))) == ()


def test_facts_of_a_cluster_are_the_workload_s_behind_the_pool() -> None:
    found = of_cluster(made.view(), "chat", None)
    assert found == replace(FACTS, replicas=2, load_seconds=None)
    with pytest.raises(ConfigError, match="no InferencePool 'chatt'; did you mean chat"):
        of_cluster(made.view(), "chatt", None)


def test_a_pool_of_two_workloads_needs_one_to_be_named() -> None:
    other = replace(made.workload("canary"), pod_labels={"app": "vllm"})
    view = made.view(workloads=(made.workload(), other))
    with pytest.raises(ConfigError, match="Deployment vllm, Deployment canary are behind pool llm/chat"):
        of_cluster(view, "llm/chat", None)
    assert of_cluster(view, "llm/chat", ObjectRef("apps/v1", "Deployment", "canary")).target.name == "canary"


def test_two_pools_of_one_name_need_the_namespace() -> None:
    pools = tuple(Pool(ObjectKey(each, "chat"), {"app": "vllm"}) for each in ("a", "b"))
    with pytest.raises(ConfigError, match="several pools have this name: a/chat, b/chat"):
        of_state(DiscoveryState(pools=pools), "chat", made.TARGET)


def test_of_a_file_without_workloads_one_has_to_be_named() -> None:
    state = DiscoveryState(pools=(Pool(made.key("chat"), {"app": "vllm"}),))
    with pytest.raises(ConfigError, match="none is behind pool llm/chat"):
        of_state(state, "chat", None)
    assert of_state(state, "chat", made.TARGET).target == made.TARGET
