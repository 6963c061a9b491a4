"""Explanations: what each stage said of a pick, in numbers that add up to the choice, and what came of it."""

import math
import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from picker.explaining.explanation import explanation, wall_of
from picker.explaining.finding import explained
from picker.request import InferenceRequest, Outcome
from tests.fakes.pools import POOL, headers
from tests.picker.directing.test_director import Bench, ask, get
from tests.picker.explaining.test_pick_log import EXPLAINED, kept, traffic

WALL = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)

CONFIG = """\
apiVersion: llm-d.ai/v1
kind: EndpointPickerConfig
plugins:
- {name: by-zone, type: label-selector-filter, parameters: {matchLabels: {zone: near}}}
- {name: shortest, type: queue-scorer}
- {name: cached, type: prefix-cache-scorer}
- {name: best, type: max-score-picker}
schedulingProfiles:
- name: default
  plugins:
  - {pluginRef: by-zone}
  - {pluginRef: shortest, weight: 2}
  - {pluginRef: cached, weight: 3}
  - {pluginRef: best}
"""


def only(bench: Bench) -> Any:
    ((inputs, config),) = kept(bench)
    return explanation(inputs, config, wall_of(0.1, WALL))


def in_zones(config: str, *zones: str) -> Bench:
    bench = Bench(len(zones), config, EXPLAINED)
    endpoints = [replace(each, labels={"zone": zone}) for each, zone in zip(bench.state.endpoints, zones, strict=True)]
    bench.sync(replace(bench.state, endpoints=tuple(endpoints)))
    return bench


def test_each_stage_is_told_with_what_it_left_and_what_it_scored() -> None:
    bench = in_zones(CONFIG, "near", "near", "far")
    first, second, _ = bench.state.endpoints
    bench.scrape(first, waiting=4.0)
    bench.scrape(second, waiting=1.0)
    decision = bench.routed(ask())
    told = only(bench)
    assert told["request_id"] == "id"
    assert (told["pick"], told["time"]) == (decision.revision, "2026-11-30T12:00:00.000+00:00")
    assert (told["endpoints"], told["eligible"], told["reproduced"]) == (3, 3, True)
    assert told["stages"] == [
        {
            "kind": "filter",
            "profile": "default",
            "stage": "by-zone",
            "before": 3,
            "after": 2,
            "dropped": ["default/pod-2"],
        }
    ]
    best, other = told["candidates"]
    assert (best["endpoint"], best["choice"], best["waiting_requests"]) == ("default/pod-1", 1, 1.0)
    assert best["scores"] == [
        {"scorer": "shortest", "weight": 2.0, "raw": 1.0, "weighted": 2.0},
        {"scorer": "cached", "weight": 3.0, "raw": 0.0, "weighted": 0.0},
    ]
    assert [each["weighted"] for each in other["scores"]] == [0.0, 0.0]
    assert (told["picker"], told["winner"]) == ("best", "default/pod-1")
    assert told["runner_up"] == {"endpoint": "default/pod-0", "behind": 2.0}


@pytest.mark.parametrize("seed", range(3))
def test_weighted_scores_add_up_to_the_sum_that_decided(seed: int) -> None:
    bench = Bench(4, settings=EXPLAINED)
    traffic(bench, random.Random(seed), 30)
    for inputs, config in kept(bench):
        told: Any = explanation(inputs, config, lambda _: None)
        for each in told["candidates"]:
            assert math.isclose(sum(one["weighted"] for one in each["scores"]), each["score"])
        assert [each["choice"] for each in told["candidates"]].count(1) == 1


def test_what_was_predicted_stands_beside_what_came() -> None:
    bench = Bench(1, settings=EXPLAINED)
    request = ask()
    decision = bench.routed(request)
    assert only(bench)["actual"] is None
    end = Outcome("completed", 200, 5, 11, 2, None, 0.5, 1.5, streamed=True)
    bench.director.finished(request, decision, end, 2.0)
    told = only(bench)
    assert told["predicted"]["time_to_first_token_seconds"] > 0
    assert told["actual"]["time_to_first_byte_seconds"] == 0.5
    assert told["actual"]["time_per_output_token_seconds"] == pytest.approx(0.1)
    assert (told["actual"]["outcome"], told["actual"]["status"], told["actual"]["cached_tokens"]) == (
        "completed",
        200,
        2,
    )


def test_a_request_that_stages_refused_is_explained_too() -> None:
    bench = in_zones(CONFIG, "far", "far")
    refusal = bench.refused(ask())
    told = only(bench)
    assert told["refused"] == {"reason": "filtered_out", "status": refusal.status}
    assert (told["winner"], told["candidates"], told["reproduced"]) == (None, [], True)
    assert [(each["stage"], each["after"]) for each in told["stages"]] == [("by-zone", 0)]


def test_a_decision_of_which_no_load_is_known_says_so() -> None:
    bench = Bench(2, settings=EXPLAINED)
    bench.routed(ask(), now=60.0)
    told = only(bench)
    assert (told["load_unknown"], told["reproduced"]) == (True, True)
    assert told["candidates"][0]["observed_age_seconds"] is None


def test_a_choice_that_is_not_made_again_is_told_as_such() -> None:
    bench = Bench(2, settings=EXPLAINED)
    bench.routed(ask())
    ((inputs, config),) = kept(bench)
    other = 1 - inputs.kept.chosen[0]
    inputs.kept.chosen = (other,)  # type: ignore[misc] # as a stage with a memory of its own would have chosen
    assert explanation(inputs, config, lambda _: None)["reproduced"] is False


def test_nothing_of_prompts_or_credentials_is_told() -> None:
    bench = Bench(2, settings=EXPLAINED)
    bench.routed(ask(b"secret prompt", given=headers(authorization="secret", x_other="secret")))
    assert "secret" not in repr(only(bench))


def test_picks_are_found_by_their_request_and_by_their_revision() -> None:
    bench = Bench(2, settings=EXPLAINED)
    first = bench.routed(InferenceRequest("a", "/v1/completions", headers(), ask().body), 0.1)
    bench.routed(InferenceRequest("b", "/v1/completions", headers(), ask().body), 0.2)
    bench.routed(InferenceRequest("a", "/v1/completions", headers(), ask().body), 0.3)
    bench.routed(get(), 0.4)
    held = {POOL: (bench.director.log, bench.director.records)}

    def found(name: str) -> list[Any]:
        document: Any = explained(held, name, wall_of(1.0, WALL))
        return [] if document is None else document["picks"]

    assert [each["time"][17:] for each in found("a")] == ["59.300+00:00", "59.100+00:00"]
    assert [each["request_id"] for each in found(first.revision)] == ["a"]
    (without_body,) = found("id")
    assert without_body["winner"] in {each.authority for each in bench.state.endpoints}
    assert found("c") == []


def test_later_scrapes_change_nothing_that_was_kept() -> None:
    bench = Bench(2, settings=EXPLAINED)
    bench.routed(ask())
    before = only(bench)
    for each in bench.state.endpoints:
        bench.scrape(each, at=1.0, waiting=9.0)
    assert only(bench) == before
