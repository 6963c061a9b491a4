"""The diagnosis for programs."""

import orjson

from infscale.doctor.diagnosis import diagnosed
from infscale.doctor.diagnosis_json import document
from tests.doctor import healthy as made
from tests.doctor.rules.test_rule_table import PLANTED


def test_it_has_what_is_asked_answered_computed_and_found() -> None:
    found = orjson.loads(document(diagnosed(PLANTED["D104"]())))
    assert (found["errors"], found["warnings"], found["kubernetesMinor"]) == (1, 0, 36)
    [finding] = found["findings"]
    assert (finding["code"], finding["severity"], finding["namespace"], finding["name"]) == (
        "D104",
        "error",
        "llm",
        "vllm",
    )
    assert finding["fix"].startswith("kubectl -n llm patch hpa vllm")
    scaled = found["autoscalers"][0]
    [metric] = scaled["metrics"]
    assert metric["url"] == made.PATH
    assert (metric["values"], metric["ageSeconds"], metric["problem"]) == (
        [{"object": "vllm-0", "value": 1.0}],
        1,
        None,
    )
    assert scaled["next"]["replicas"] == 2
    assert found["pools"] == [{"namespace": "llm", "name": "chat", "pods": 2, "ready": 2}]


def test_a_metric_that_was_refused_has_its_problem_and_no_value() -> None:
    found = orjson.loads(document(diagnosed(PLANTED["D103"]())))
    [metric] = found["autoscalers"][0]["metrics"]
    assert (metric["values"], metric["problem"]) == ([], "waiting_requests is unknown now")
    assert metric["ageSeconds"] is None
