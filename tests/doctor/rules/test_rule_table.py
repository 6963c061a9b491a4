"""Each rule finds the fault that is planted for it, and nothing else; none speaks of a healthy cluster."""

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from adapter.registering.ownership import API_SERVICES, CUSTOM_V1BETA1, CUSTOM_V1BETA2, EXTERNAL_V1BETA1
from infscale.doctor.rules.rule import Finding
from infscale.doctor.rules.rule_table import RULES, findings
from infscale.doctor.view.cluster_view import ClusterView
from infscale.doctor.view.seen_apis import HPA_ACCOUNT, SeenRight
from infscale.doctor.view.seen_routing import SeenPicker, SeenPool, SeenPoolUser, SeenService, SeenText, SeenTlsPolicy
from infscale.doctor.view.seen_scalers import (
    ObjectRef,
    SeenAutoscaler,
    SeenMetric,
    SeenOther,
    SeenScaledObject,
    SeenTrigger,
)
from infscale.kube.rights import Right
from infscale.labels import Selector
from infscale.planner.hpa_rules import Behavior, ScalingPolicy, ScalingRules, SelectPolicy
from infscale.planner.hpa_rules import PolicyType as Unit
from tests.doctor import healthy as made
from tests.doctor.healthy import view

ALWAYS = (ScalingPolicy(Unit.PODS, 4, 15.0),)
INFSCALE = "system:serviceaccount:infscale-system:infscale"
GONE = made.refused("NotFound", "the server could not find the metric")
ALIAS = ObjectRef("inference.networking.x-k8s.io/v1alpha2", "InferencePool", "chat")


def with_answers(found: ClusterView, *answers: Any) -> ClusterView:
    """The answers to the metrics of the first HPA."""
    scaler = found.autoscalers[0]
    return replace(found, answers={**found.answers, **{(scaler.key, at): each for at, each in enumerate(answers)}})


def api(name: str, **changes: Any) -> ClusterView:
    services = [made.api_service(each, **(changes if each == name else {})) for each in API_SERVICES]
    return view(api_services=tuple(services))


def asked(metric: SeenMetric, *answers: Any, **changes: Any) -> ClusterView:
    """A cluster whose HPA asks for one metric."""
    found = view(made.autoscaler(metric), **changes)
    return with_answers(found, *answers) if answers else found


def behaving(up: ScalingRules | None = None, down: ScalingRules | None = None) -> SeenAutoscaler:
    calm = ScalingRules(ALWAYS, stabilization_window_seconds=300)
    return made.autoscaler(behavior=Behavior(up or ScalingRules(ALWAYS), down or calm))


def engine(**changes: Any) -> ClusterView:
    return view(workloads=(made.workload(containers=(made.container(**changes),)), made.workload("batch")))


def trigger(kind: str, **metadata: str) -> SeenTrigger:
    return SeenTrigger(0, kind, metadata)


def zero_on(*triggers: SeenTrigger) -> ClusterView:
    return view(scaled_objects=(made.scaled_object(min_replicas=0, triggers=triggers),))


def asking_keda(*triggers: SeenTrigger, **changes: Any) -> SeenScaledObject:
    return made.scaled_object(triggers=triggers, **changes)


def own(**changes: Any) -> ClusterView:
    return view(infscale=replace(view().infscale, **changes))


def waiting_for(*triggers: SeenTrigger) -> ClusterView:
    """A cluster whose ScaledObject has these triggers, whose HPA sees all, and whose picker has requests wait."""
    seen = view(made.autoscaler(replace(made.pods_metric(), name="outstanding_requests")))
    return replace(seen, infscale=replace(seen.infscale, holds=True), scaled_objects=(asking_keda(*triggers),))


def denied(user: str, right: Right) -> ClusterView:
    return view(rights=(SeenRight(user, right, allowed=False),))


def in_use(**changes: Any) -> SeenMetric:
    return replace(SeenMetric(0, "Resource", "memory", "Utilization", None, 80), **changes)


def old_text(kind: str, resource: str, *names: str) -> ClusterView:
    return view(texts=(SeenText(kind, resource, made.key("old"), {"spec.groups[0].rules[0].expr": names}),))


CANARY = made.pod("canary-0", "vllm", ("Deployment", "canary"))
CANARY_HPA = made.autoscaler(name="canary", target=ObjectRef("apps/v1", "Deployment", "canary"))
YOUNGER = made.autoscaler(name="second", created="2026-11-02T00:00:00Z")
ABSENT = {**view().scales, made.key("vllm"): None}
CAT = replace(made.POOL, name="cat")
ROLLOUT = ObjectRef("argoproj.io/v1alpha1", "Rollout", "r")
OTHER_POOL = made.pool(key=made.key("other"))

PLANTED: Mapping[str, Callable[[], ClusterView]] = {
    "D001": lambda: denied(HPA_ACCOUNT, made.READING),
    "D002": lambda: denied(INFSCALE, Right("list", "", "pods")),
    "D003": lambda: api(CUSTOM_V1BETA1, available=False, reason="FailedDiscoveryCheck", message="no route to host"),
    "D004": lambda: api(CUSTOM_V1BETA1, ca_problem="it is no certificate in PEM form"),
    "D005": lambda: api(CUSTOM_V1BETA1, skips_verification=True),
    "D006": lambda: api(CUSTOM_V1BETA1, service=made.OTHER),
    "D007": lambda: replace(
        asked(made.external_metric("in_flight_requests", "AverageValue", 4000), GONE),
        api_services=api(EXTERNAL_V1BETA1, service=made.OTHER).api_services,
    ),
    "D008": lambda: asked(made.pods_metric(), GONE, api_services=(made.RESOURCES, made.api_service(EXTERNAL_V1BETA1))),
    "D101": lambda: asked(made.pods_metric("waiting_request"), GONE),
    "D102": lambda: asked(made.pods_metric("inference_pool_average_kv_cache_utilization", 700), GONE),
    "D103": lambda: asked(made.pods_metric(), made.refused("Unreachable", "waiting_requests is unknown now")),
    "D104": lambda: asked(made.pods_metric("kv_cache_utilization_ratio", 950)),
    "D105": lambda: asked(made.pods_metric("saturation_ratio", 2000)),
    "D106": lambda: asked(made.pods_metric("running_requests", 64000)),
    "D107": lambda: asked(made.object_metric("waiting_requests", "Value", 4000)),
    "D108": lambda: asked(made.object_metric("queue_latency_p90_seconds", "AverageValue", 2000)),
    "D109": lambda: asked(made.external_metric("queue_latency_p90_seconds", "Value", 2000), made.answer(1, 2)),
    "D110": lambda: asked(made.object_metric("waiting_requests", "AverageValue", 4000, described=ALIAS)),
    "D111": lambda: asked(made.object_metric("waiting_requests", "AverageValue", 4000, described=CAT), GONE),
    "D112": lambda: asked(made.pods_metric(), made.answer(1000, at=made.NOW - 300)),
    "D201": lambda: view(
        made.autoscaler(made.external_metric("wva_desired_replicas", "AverageValue", 1000), max_replicas=20)
    ),
    "D202": lambda: view(made.autoscaler(), YOUNGER),
    "D203": lambda: view(
        scaled_objects=(made.scaled_object(), made.scaled_object(key=made.key("b"), target=made.TARGET))
    ),
    "D204": lambda: view(
        made.autoscaler(in_use(name="cpu")),
        others=(SeenOther("verticalpodautoscalers", "VerticalPodAutoscaler", made.key("vllm"), made.TARGET, "Auto"),),
    ),
    "D205": lambda: view(
        made.autoscaler(),
        CANARY_HPA,
        pods=(*view().pods, CANARY),
        scales={**view().scales, CANARY_HPA.key: made.scale(1, "app=vllm,role=canary")},
    ),
    "D206": lambda: view(pods=(*view().pods, CANARY)),
    "D207": lambda: view(made.autoscaler(min_replicas=0)),
    "D208": lambda: view(made.autoscaler(target=replace(made.TARGET, name="vlm")), scales=ABSENT),
    "D209": lambda: view(behaving(down=ScalingRules(ALWAYS, SelectPolicy.DISABLED, 300))),
    "D210": lambda: view(behaving(down=ScalingRules(ALWAYS, stabilization_window_seconds=0))),
    "D211": lambda: view(made.autoscaler(in_use())),
    "D212": lambda: own(holds=True),
    "D301": lambda: view(scaled_objects=(made.scaled_object(triggers=(trigger("external", scalerAddress="keda"),)),)),
    "D302": lambda: view(scaled_objects=(made.scaled_object(has_fallback=False),)),
    "D303": lambda: zero_on(trigger("prometheus", query="sum(vllm:num_requests_waiting)")),
    "D304": lambda: view(scaled_objects=(asking_keda(trigger("external-push", metric="kv_cache_utilization_ratio")),)),
    "D305": lambda: waiting_for(trigger("prometheus", query="sum(vllm:num_requests_waiting)")),
    "D401": lambda: view(workloads=(made.workload(grace_seconds=20.0), made.workload("batch"))),
    "D402": lambda: engine(has_readiness=False),
    "D403": lambda: engine(has_startup=False),
    "D404": lambda: engine(pre_stop_seconds=None),
    "D405": lambda: view(routes=(replace(made.route(), timeouts=(600.0,)),)),
    "D501": lambda: view(pools=(made.pool(), replace(OTHER_POOL, selector={"app": "vlm"}))),
    "D502": lambda: view(pods=(made.pod("vllm-0", ready=False),)),
    "D503": lambda: view(pools=(made.pool(ports=(8080,)),)),
    "D504": lambda: view(pools=(made.pool(picker=SeenPicker("Service", "ep", 9002)),)),
    "D505": lambda: view(services=(SeenService(made.key("epp"), {"app": "epp"}, (9002,), ready_addresses=0),)),
    "D506": lambda: view(pool_users=(SeenPoolUser("InferenceObjective", "inferenceobjectives", made.key("f"), "cat"),)),
    "D601": lambda: view(
        routes=(made.route(made.backend(weight=9), made.backend("other", 1)),), pools=(made.pool(), OTHER_POOL)
    ),
    "D602": lambda: view(routes=(made.route(made.backend(), made.backend("web", 1, group="", kind="Service")),)),
    "D603": lambda: view(routes=(made.route(made.backend("cat")),)),
    "D604": lambda: replace(own(destinations=2), controllers={made.key("gateway"): "agentgateway.dev/agentgateway"}),
    "D605": lambda: view(pools=(made.pool(picker=SeenPicker("Service", "epp", 9002, "FailOpen")),)),
    "D606": lambda: view(tls_policies=(SeenTlsPolicy(made.key("tls"), ("epp",)),)),
    "D701": lambda: old_text("PrometheusRule", "prometheusrules.monitoring.coreos.com", "vllm:gpu_cache_usage_perc"),
    "D702": lambda: old_text("ConfigMap", "configmap", "inference_pool_average_queue_size", "Hostname"),
    "D801": lambda: own(staleness_seconds=60.0),
    "D802": lambda: own(interval_seconds=15.0),
}


def test_nothing_is_found_in_a_healthy_cluster() -> None:
    assert findings(view()) == ()


def test_every_rule_has_a_fault_that_is_planted_for_it() -> None:
    assert list(PLANTED) == [each.code for each in RULES]


@pytest.mark.parametrize("code", PLANTED)
def test_a_planted_fault_is_found_by_its_rule_and_no_other(code: str) -> None:
    found = findings(PLANTED[code]())
    assert [each.code for each in found] == [code]
    [rule] = [each for each in RULES if each.code == code]
    assert (found[0].severity, found[0].title) == (rule.severity, rule.title)


@pytest.mark.parametrize("code", PLANTED)
def test_a_finding_names_its_object_says_why_and_has_a_command(code: str) -> None:
    [found] = findings(PLANTED[code]())
    said = found.found
    assert said.subject.kind
    assert said.subject.key.name
    assert said.field
    assert 20 < len(said.cause) < 300
    assert "\n" not in said.cause
    assert not said.cause.endswith(".")
    assert said.fix.startswith(("kubectl ", "sed "))
    assert_is_shell(said.fix)


def assert_is_shell(command: str) -> None:
    """A command that a shell can split, with patches that are JSON."""
    first = command.partition("<<'EOF'")[0]
    words = shlex.split(first)
    for option, value in pairwise(words):
        if option == "-p":
            assert json.loads(value)


@pytest.mark.parametrize("rule", [each for each in RULES if each.needs], ids=lambda each: each.code)
def test_a_rule_says_nothing_where_what_it_needs_could_not_be_listed(rule: Any) -> None:
    found = replace(PLANTED[rule.code](), unseen={rule.needs[0]: "forbidden"})
    assert rule.code not in {each.code for each in findings(found)}


def patched(found: Finding) -> Any:
    """The patch of a fix."""
    words = shlex.split(found.found.fix)
    return json.loads(words[words.index("-p") + 1])


@pytest.mark.parametrize(
    ("code", "patch"),
    [
        ("D101", [{"op": "replace", "path": "/spec/metrics/0/pods/metric/name", "value": "waiting_requests"}]),
        (
            "D102",
            [{"op": "replace", "path": "/spec/metrics/0/pods/metric/name", "value": "kv_cache_utilization_ratio"}],
        ),
        ("D104", [{"op": "replace", "path": "/spec/metrics/0/pods/target/averageValue", "value": "800m"}]),
        ("D106", [{"op": "replace", "path": "/spec/metrics/0/pods/target/averageValue", "value": "44"}]),
        (
            "D107",
            [
                {
                    "op": "replace",
                    "path": "/spec/metrics/0/object/target",
                    "value": {"type": "AverageValue", "averageValue": "4000m"},
                }
            ],
        ),
        (
            "D109",
            [
                {
                    "op": "add",
                    "path": "/spec/metrics/0/external/metric/selector",
                    "value": {"matchLabels": {"pool": "chat"}},
                }
            ],
        ),
        ("D111", [{"op": "replace", "path": "/spec/metrics/0/object/describedObject/name", "value": "chat"}]),
        ("D208", [{"op": "replace", "path": "/spec/scaleTargetRef/name", "value": "vllm"}]),
        ("D304", [{"op": "add", "path": "/spec/triggers/0/metricType", "value": "Value"}]),
        ("D401", {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 30}}}}),
        (
            "D404",
            {
                "spec": {
                    "template": {
                        "spec": {
                            "containers": [{"name": "server", "lifecycle": {"preStop": {"sleep": {"seconds": 45}}}}]
                        }
                    }
                }
            },
        ),
        (
            "D405",
            {
                "spec": {
                    "template": {
                        "spec": {
                            "terminationGracePeriodSeconds": 615,
                            "containers": [{"name": "server", "lifecycle": {"preStop": {"sleep": {"seconds": 600}}}}],
                        }
                    }
                }
            },
        ),
        ("D503", [{"op": "replace", "path": "/spec/targetPorts", "value": [{"number": 8000}]}]),
        ("D601", [{"op": "remove", "path": "/spec/rules/0/backendRefs/1"}]),
        ("D603", [{"op": "replace", "path": "/spec/rules/0/backendRefs/0/name", "value": "chat"}]),
    ],
)
def test_a_fix_changes_what_is_wrong_to_what_is_meant(code: str, patch: Any) -> None:
    [found] = findings(PLANTED[code]())
    assert patched(found) == patch


@pytest.mark.parametrize(
    ("found", "absent"),
    [
        pytest.param(
            asked(made.pods_metric("kv_cache_utilization_ratio", 800)), "D104", id="a ratio below its ceiling"
        ),
        pytest.param(asked(made.pods_metric("running_requests", 40000)), "D106", id="a target below the batch"),
        pytest.param(asked(made.object_metric("queue_latency_p90_seconds", "Value", 1)), "D107", id="a time as Value"),
        pytest.param(
            asked(made.external_metric("waiting_requests", "AverageValue", 1), made.answer(1, 2)),
            "D109",
            id="a sum that is added up",
        ),
        pytest.param(
            replace(asked(made.pods_metric("queue_length")), answers={}), "D101", id="a metric that was not asked"
        ),
        pytest.param(
            asked(made.pods_metric("inference_pool_average_kv_cache_utilization", 700), made.answer(500)),
            "D102",
            id="served by that name",
        ),
        pytest.param(
            asked(made.pods_metric(), made.refused("Forbidden", "no")), "D103", id="this user may not read it"
        ),
        pytest.param(view(made.autoscaler(max_replicas=50)), "D201", id="a load with the usual tolerance"),
        pytest.param(own(forwards=True), "D006", id="one adapter that forwards"),
        pytest.param(
            view(pods=(*view().pods, made.pod("x", deleting=True, owner=None))), "D206", id="a pod that leaves"
        ),
        pytest.param(
            view(workloads=(made.workload(replicas=0), made.workload("batch")), pods=()), "D501", id="a pool at zero"
        ),
        pytest.param(
            asked(made.object_metric("waiting_requests", "AverageValue", 4000, described=CAT)),
            "D111",
            id="a described object that is answered for",
        ),
        pytest.param(
            asked(
                made.object_metric("waiting_requests", "AverageValue", 4000, described=CAT),
                GONE,
                declared=(made.pool(key=made.key("cat")),),
            ),
            "D111",
            id="a described object that is a declared pool",
        ),
        pytest.param(
            view(declared=(SeenPool(made.key("cat"), {"app": "none"}, (8080,)),)), "D501", id="a declared pool at zero"
        ),
        pytest.param(
            view(declared=(made.pool(key=made.key("cat"), ports=(8080,)),)), "D503", id="a port of a declared pool"
        ),
        pytest.param(
            replace(PLANTED["D506"](), declared=(made.pool(key=made.key("cat")),)),
            "D506",
            id="an objective of a declared pool",
        ),
        pytest.param(view(routes=(), services=()), "D504", id="a pool that no route leads to"),
        pytest.param(
            view(made.autoscaler(made.object_metric("in_flight_requests", "AverageValue", 1), min_replicas=0)),
            "D207",
            id="zero with a metric of the picker",
        ),
        pytest.param(
            view(scaled_objects=(made.scaled_object(min_replicas=0),)), "D303", id="zero with infscale's own trigger"
        ),
        pytest.param(
            zero_on(
                trigger("external-push", scalerAddress="infscale-keda:9005", pool="batch", metric="waiting_requests")
            ),
            "D303",
            id="zero with a metric of infscale's trigger, which activates on demand",
        ),
        pytest.param(
            zero_on(
                trigger("prometheus", query="sum(vllm:num_requests_waiting)"),
                trigger("external", scalerAddress="infscale-keda:9005", metric="running_requests"),
            ),
            "D303",
            id="zero with infscale's trigger beside another",
        ),
    ],
)
def test_what_is_right_is_not_found(found: ClusterView, absent: str) -> None:
    assert absent not in {each.code for each in findings(found)}


@pytest.mark.parametrize(
    "others",
    [
        pytest.param({"other_workloads": (made.key("leaders"),)}, id="an object of another kind"),
        pytest.param(
            {"autoscalers": (*view().autoscalers, made.autoscaler(name="r", target=ROLLOUT))}, id="an HPA of one"
        ),
        pytest.param({"scaled_objects": (made.scaled_object(target=ROLLOUT),)}, id="a ScaledObject of one"),
    ],
)
def test_pools_that_may_be_of_other_kinds_of_workloads_are_not_said_to_select_nothing(others: Any) -> None:
    assert "D501" not in {each.code for each in findings(replace(PLANTED["D501"](), **others))}


def test_which_workload_a_pool_is_for_is_not_guessed() -> None:
    """Another model's Deployment is the only one on its port."""
    [found] = findings(PLANTED["D501"]())
    assert found.found.fix == "kubectl -n llm get pods,deployments,statefulsets --show-labels"


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("DCGM_FI_DEV_FB_USED", "is in MiB; infscale publishes gpu_memory_used_bytes"),
        ("vllm:time_to_first_token_seconds", "is a histogram, and an HPA takes one number; infscale publishes"),
    ],
)
def test_a_metric_of_another_unit_is_not_put_in_a_place_whose_target_stays(name: str, cause: str) -> None:
    [found] = findings(asked(made.pods_metric(name), GONE))
    assert found.code == "D101"
    assert cause in found.found.cause
    assert found.found.fix == "kubectl -n llm edit hpa vllm"


def test_the_servers_of_a_declared_pool_are_model_servers() -> None:
    selects = Selector.parse("app in (batch)")
    declared = SeenPool(made.key("batch"), {}, (8000,), requirements=selects)
    found = view(workloads=(made.workload(), made.workload("batch", grace_seconds=1.0)), declared=(declared,))
    assert [(each.code, each.found.subject.key.name) for each in findings(found)] == [("D401", "batch")]


@pytest.mark.parametrize("name", ["vllm:gpu_cache_usage_perc", "vllm:num_requests_waiting", "queue_depth"])
def test_a_name_that_infscale_answers_is_neither_old_nor_unknown(name: str) -> None:
    """An alias, or a query of its configuration: without a value, the adapter says why."""
    own = replace(view().infscale, metrics=("queue_depth",))
    found = asked(made.pods_metric(name, 700), made.refused("NotFound", "no value of it is known yet"), infscale=own)
    assert [each.code for each in findings(found)] == ["D103"]


def test_a_name_that_an_api_lists_is_there_for_other_objects() -> None:
    """One that a rule of prometheus-adapter makes has the kinds of objects that its series name."""
    words = "no rule of prometheus.adapter_rules makes it from the series there are"
    named = asked(made.pods_metric("orders_waiting"), made.refused("NotFound", words))
    assert [each.code for each in findings(named)] == ["D101"]
    there = replace(named, listed={"Pods": frozenset({"orders_waiting"}), "External": frozenset()})
    [said] = findings(there)
    assert (said.code, words in said.found.cause) == ("D103", True)
    other_form = replace(named, listed={"External": frozenset({"orders_waiting"})})
    assert [each.code for each in findings(other_form)] == ["D101"]


def test_a_misspelt_name_of_a_rule_is_corrected() -> None:
    misspelt = replace(asked(made.pods_metric("orders_wating"), GONE), listed={"Pods": frozenset({"orders_waiting"})})
    [said] = findings(misspelt)
    assert (said.code, patched(said)[0]["value"]) == ("D101", "orders_waiting")


def test_an_old_name_of_engines_is_old_to_another_adapter() -> None:
    services = tuple(made.api_service(each, made.OTHER) for each in API_SERVICES)
    found = asked(made.pods_metric("vllm:gpu_cache_usage_perc", 700), GONE, api_services=services)
    [said] = findings(found)
    assert (said.code, patched(said)[0]["value"]) == ("D102", "vllm:kv_cache_usage_perc")


@pytest.mark.parametrize("name", ["vllm:num_requests_waiting", "queue_depth"])
def test_external_metrics_of_infscale_that_another_server_is_asked_for_are_known_by_every_name(name: str) -> None:
    own = replace(view().infscale, metrics=("queue_depth",))
    services = (*api(EXTERNAL_V1BETA1, service=made.OTHER).api_services, made.RESOURCES)
    found = asked(made.external_metric(name, "AverageValue", 4000), GONE, api_services=services, infscale=own)
    assert [each.code for each in findings(found)] == ["D007"]


def test_two_adapters_are_one_fault_only_where_infscale_does_not_forward() -> None:
    asking = replace(own(forwards=True), api_services=api(CUSTOM_V1BETA1, service=made.OTHER).api_services)
    assert findings(asking) == ()
    told = replace(asking, infscale=replace(asking.infscale, forwards=False))
    assert [(each.code, each.found.subject.key.name) for each in findings(told)] == [("D006", CUSTOM_V1BETA2)]


@pytest.mark.parametrize(
    ("names", "blind"),
    [
        (("waiting_requests",), True),
        (("queue_latency_p90_seconds", "time_to_first_token_p90_seconds"), True),
        (("vllm:num_requests_waiting",), True),
        (("waiting_requests", "queued_requests"), False),
        (("waiting_requests", "outstanding_requests"), False),
        (("kv_cache_utilization_ratio",), False),
    ],
)
def test_an_autoscaler_has_to_see_what_waits_in_the_picker(names: tuple[str, ...], blind: bool) -> None:
    metrics = [replace(made.pods_metric(), name=name, index=at) for at, name in enumerate(names)]
    healthy = view(made.autoscaler(*metrics))
    found = findings(replace(healthy, infscale=replace(healthy.infscale, holds=True)))
    assert ("D212" in [each.code for each in found]) is blind
    assert "D212" not in [each.code for each in findings(healthy)], "where requests do not wait nothing is missed"


def test_metrics_of_a_pool_have_what_waits_in_the_picker() -> None:
    for metric in (
        made.object_metric("waiting_requests", "AverageValue", 4000),
        made.external_metric("waiting_requests", "AverageValue", 4000, pool="vllm"),
    ):
        healthy = view(made.autoscaler(metric))
        found = findings(replace(healthy, infscale=replace(healthy.infscale, holds=True)))
        assert "D212" not in [each.code for each in found]


@pytest.mark.parametrize(
    ("triggers", "blind"),
    [
        ((trigger("prometheus", query="sum(vllm:num_requests_waiting)"),), True),
        ((trigger("external-push", pool="batch", slo="ttft_p90=1s"),), False),
        ((trigger("external-push", pool="batch", metric="waiting_requests", target="4"),), False),
        ((trigger("external-push", pool="batch", metric="outstanding_requests", target="4"),), False),
        ((trigger("external", pool="batch", metric="kv_cache_utilization_ratio", target="1"),), False),
        ((trigger("prometheus", query="sum(http_requests)"),), False),
    ],
)
def test_triggers_have_to_see_what_waits_in_the_picker(triggers: tuple[SeenTrigger, ...], blind: bool) -> None:
    assert ("D305" in [each.code for each in findings(waiting_for(*triggers))]) is blind


def test_what_is_added_for_the_queue_has_the_target_of_the_engines() -> None:
    [finding] = findings(own(holds=True))
    assert '"metric":{"name":"queued_requests"}' in finding.found.fix
    assert f'"averageValue":"{made.autoscaler().metrics[0].target_text}"' in finding.found.fix


def test_errors_come_before_warnings() -> None:
    both = replace(PLANTED["D802"](), pods=PLANTED["D502"]().pods)
    assert [each.code for each in findings(both)] == ["D502", "D802"]


def test_codes_are_unique_and_documented() -> None:
    codes = [each.code for each in RULES]
    assert len(codes) == len(set(codes)) >= 22
    page = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text()
    listed = re.findall(r"^\| (D[0-9]{3}) \| (error|warning) \| ([^|]+) \|", page, re.MULTILINE)
    assert [(code, severity) for code, severity, _ in listed] == [(each.code, each.severity.value) for each in RULES]
    assert [title.strip() for _, _, title in listed] == [each.title for each in RULES]


LEVELS = [
    "vllm:kv_cache_usage_perc",
    'vllm:kv_cache_usage_perc{namespace="llm", pod=~"(a|b)"}',
    "avg(vllm:num_requests_waiting)",
    'max by (model_name) (vllm:num_requests_waiting{model_name="m)"})',
    "avg(vllm:kv_cache_usage_perc) by (model_name)",
    'quantile(0.9, sglang:num_queue_reqs{namespace="llm"})',
    "histogram_quantile(0.9, sum by (le) (rate(vllm:time_to_first_token_seconds_bucket[2m])))",
]
NOT_LEVELS = [
    "",
    "vllm:num_requests_waiting",
    "sum(vllm:kv_cache_usage_perc)",
    "sum(vllm:num_requests_waiting)",
    "avg(vllm:num_requests_waiting) * count(up)",
    "avg(vllm:num_requests_waiting) + avg(vllm:num_requests_running)",
    "max(sum by (instance) (vllm:num_requests_waiting))",
    "max(llm_d_epp_request_running)",
    "avg(http_requests_in_flight)",
    "histogram_quantile(0.9, rate(vllm:time_to_first_token_seconds_bucket[2m])) * 4",
    "avg(vllm:num_requests_waiting",
]


def of_keda(*triggers: SeenTrigger, **changes: Any) -> set[str]:
    return {each.code for each in findings(view(scaled_objects=(asking_keda(*triggers, **changes),)))}


@pytest.mark.parametrize("query", LEVELS)
def test_a_query_that_does_not_grow_with_the_pods_is_not_divided_by_them(query: str) -> None:
    divided = trigger("prometheus", query=query)
    assert of_keda(divided) == {"D304"}
    assert of_keda(replace(divided, metric_type="Value")) == set()
    assert of_keda(divided, is_composed=True) == set()


@pytest.mark.parametrize("query", NOT_LEVELS)
def test_a_query_that_may_grow_with_the_pods_may_be_divided_by_them(query: str) -> None:
    assert of_keda(trigger("prometheus", query=query)) == set()


@pytest.mark.parametrize(
    ("metric", "found"),
    [
        ("queue_latency_p90_seconds", {"D304"}),
        ("vllm:kv_cache_usage_perc", {"D304"}),
        ("waiting_requests", set()),
        ("gpu_memory_used_bytes", set()),
        ("a_formula", set()),
    ],
)
def test_a_ratio_or_time_of_an_external_scaler_is_not_divided(metric: str, found: set[str]) -> None:
    assert of_keda(trigger("external", scalerAddress="infscale-keda:9005", pool="batch", metric=metric)) == found
    slo = trigger("external-push", scalerAddress="infscale-keda:9005", pool="batch")
    assert of_keda(slo) == set(), "goals are told as a number of replicas"
