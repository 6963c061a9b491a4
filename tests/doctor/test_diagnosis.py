"""A diagnosis: which objects it is about, what it says of infscale, and what could not be looked at."""

from dataclasses import replace

import pytest

from infscale.doctor.diagnosis import diagnosed
from infscale.doctor.rules.rule import Severity
from infscale.errors import ConfigError
from tests.doctor import healthy as made


def test_every_scaler_and_pool_is_examined() -> None:
    found = diagnosed(made.view())
    assert [str(each.autoscaler.key) for each in found.autoscalers] == ["llm/vllm", "llm/keda-hpa-batch"]
    assert [(each.pods, each.ready) for each in found.pools] == [(2, 2)]
    assert [str(each.key) for each in found.scaled_objects] == ["llm/batch"]
    assert found.count(Severity.ERROR) == found.count(Severity.WARNING) == 0
    [metric] = found.autoscalers[0].metrics
    assert metric.age_seconds == 1
    assert metric.says == "waiting_requests 1 per pod / target 4 (1 without a value) → stays at 2 replicas"


@pytest.mark.parametrize("name", ["vllm", "llm/vllm", "chat"], ids=["an HPA", "with its namespace", "its pool"])
def test_a_name_narrows_it_to_what_belongs_together(name: str) -> None:
    wrong = made.view(scaled_objects=(made.scaled_object(has_fallback=False),), pods=(made.pod("vllm-0", ready=False),))
    found = diagnosed(wrong, [name])
    assert [str(each.autoscaler.key) for each in found.autoscalers] == ["llm/vllm"]
    assert [str(each.pool.key) for each in found.pools] == ["llm/chat"]
    assert found.scaled_objects == ()
    assert {each.code for each in found.findings} == {"D502"}, "that of the ScaledObject is not asked about"


def test_what_is_the_whole_cluster_s_belongs_to_every_name() -> None:
    first, *others = made.view().api_services
    services = (replace(first, available=False, reason="x"), *others)
    found = diagnosed(made.view(api_services=services), ["vllm"])
    assert {each.code for each in found.findings} == {"D003"}


def test_a_name_that_nothing_has_is_refused_with_what_is_like_it() -> None:
    with pytest.raises(ConfigError, match="no HPA, ScaledObject or InferencePool 'vlm'; did you mean vllm"):
        diagnosed(made.view(), ["vlm"])


def test_it_says_whether_infscale_is_there() -> None:
    assert "is installed (infscale-system/infscale-adapter), and answers v1beta1" in diagnosed(made.view()).infscale
    absent = replace(made.view().infscale, installed=False)
    assert "not installed (no Service" in diagnosed(made.view(infscale=absent)).infscale
    assert "cannot be seen" in diagnosed(made.view(unseen={"infscale": "forbidden"})).infscale


def test_what_could_not_be_listed_is_said_with_the_rules_that_need_it() -> None:
    found = diagnosed(made.view(unseen={"prometheusrules": "it is forbidden"}))
    [unchecked] = found.unchecked
    assert (unchecked.codes, unchecked.why) == (("D701",), "prometheusrules: it is forbidden")
