"""What the adapter answers becomes what the controller would do, errors included."""

from typing import Any

import orjson
import pytest

from infscale.demo.asked_by_hpa import HPA_METRICS, Advice, HpaMetric, RawAnswer, advise
from infscale.planner.hpa import Source
from infscale.planner.hpa_rules import History

PODS = ("server-0", "server-1")
LATENCY, WAITING, KV = HPA_METRICS


def external(*values: str) -> RawAnswer:
    return RawAnswer(200, orjson.dumps({"items": [{"metricName": "m", "value": value} for value in values]}))


def pods(**values: str) -> RawAnswer:
    items: list[dict[str, Any]] = [
        {"describedObject": {"kind": "Pod", "name": name.replace("_", "-")}, "value": value}
        for name, value in values.items()
    ]
    return RawAnswer(200, orjson.dumps({"items": items}))


def advised(*raw: tuple[HpaMetric, RawAnswer]) -> Advice:
    return advise(raw, PODS, 10.0, History())


def test_the_largest_proposal_wins_and_every_metric_says_why() -> None:
    advice = advised((LATENCY, external("750m")), (WAITING, external("6")), (KV, pods(server_0="800m", server_1="1")))
    assert [answer.replicas for answer in advice.answers] == [3, 3, 3]
    assert [answer.value for answer in advice.answers] == ["0.75", "6", "0.9"]
    assert advice.recommendation.desired == 3
    assert all(answer.explanation for answer in advice.answers)


def test_a_refusal_is_shown_with_the_adapter_s_words_and_blocks_scaling_down() -> None:
    refusal = RawAnswer(503, orjson.dumps({"kind": "Status", "message": "no fresh value for 8.0 s"}))
    advice = advised((LATENCY, refusal), (WAITING, external("0")))
    assert advice.answers[0].value is None
    assert advice.answers[0].replicas is None
    assert "no fresh value for 8.0 s" in advice.answers[0].explanation
    assert advice.recommendation.desired == len(PODS)


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(RawAnswer(None, b"connection refused"), id="unreachable"),
        pytest.param(RawAnswer(500, b"<html>"), id="not JSON"),
        pytest.param(external("five"), id="no quantity"),
        pytest.param(RawAnswer(200, b"{}"), id="no items"),
        pytest.param(RawAnswer(200, b'{"items": [7]}'), id="no item"),
    ],
)
def test_an_unusable_answer_is_no_proposal(raw: RawAnswer) -> None:
    advice = advised((WAITING, raw))
    assert advice.answers[0].replicas is None
    assert advice.recommendation.desired == len(PODS)


def test_the_answers_carry_target_and_time() -> None:
    answer = advised((WAITING, external("1"))).answers[0]
    assert (answer.at_seconds, answer.metric, answer.target) == (10.0, "waiting_requests", "2 per pod")
    assert LATENCY.target_words == "0.5"
    assert KV.source is Source.PODS
