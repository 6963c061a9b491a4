"""`ModelRollout` as people write it: what it means, and what is said of mistakes."""

from pathlib import Path
from textwrap import dedent, indent

import pytest
import yaml

from infscale.discovery.objects import read_object
from infscale.discovery.state import read_state
from infscale.documents.strict_document import load, read_whole
from infscale.endpoint import ObjectKey, Rollout, RolloutStep, RolloutTest, Version
from infscale.errors import ConfigError

HEAD = """\
apiVersion: infscale.dev/v1alpha1
kind: ModelRollout
metadata: {name: llama-v2}
spec:
"""
KEY = ObjectKey("default", "llama-v2")


def written(spec: str) -> str:
    return HEAD + indent(dedent(spec).strip(), "  ")


def read(spec: str) -> Rollout:
    found = read_whole(written(spec), "f", read_object)
    assert isinstance(found, Rollout)
    return found


def test_a_canary_between_pods_by_labels() -> None:
    found = read("""
        poolRef: {name: chat}
        model: llama
        old: {podLabels: {version: v1}}
        new: {podLabels: {version: v2}}
        canary:
          steps:
          - {weightPercent: 0, seconds: 300}
          - {weightPercent: 12.5, requests: 500}
          - {weightPercent: 50, seconds: 600, requests: 2000}
        """)
    assert found == Rollout(
        KEY,
        "chat",
        Version(labels={"version": "v1"}),
        Version(labels={"version": "v2"}),
        (RolloutStep(0.0, 300.0), RolloutStep(0.125, 0.0, 500), RolloutStep(0.5, 600.0, 2000)),
        "llama",
    )
    assert (found.old.labels, found.new.labels) == ({"version": "v1"}, {"version": "v2"})
    assert not found.switches


def test_a_switch_to_another_pool_without_a_test() -> None:
    found = read("""
        poolRef: {name: chat}
        new: {poolRef: {name: chat-green}}
        blueGreen: {previewSeconds: 30, seconds: 600}
        readyEndpoints: 4
        test: {enabled: false}
        """)
    assert found.switches
    assert found.steps == (RolloutStep(0.0, 30.0), RolloutStep(1.0, 600.0))
    assert (found.new.pool, found.ready_endpoints, found.test) == ("chat-green", 4, None)


def test_a_lora_adapter_with_everything_said() -> None:
    found = read("""
        poolRef: {name: chat}
        old: {model: support-v1}
        new: {model: support-v2}
        canary: {steps: [{weightPercent: 10, seconds: 60}]}
        sessions: follow
        sessionHeaders: [X-Chat-Id, x-llm-d-inference-fairness-id]
        revision: "2026-12-01"
        test:
          metrics: [errors, timeToFirstToken]
          falseAlarms: 0.01
          toleranceRatio: 1.1
          onAlarm: hold
          count: requests
        """)
    assert (found.old.model, found.new.model) == ("support-v1", "support-v2")
    assert (found.sessions, found.session_headers) == ("follow", ("x-chat-id", "x-llm-d-inference-fairness-id"))
    assert found.test == RolloutTest(("errors", "time_to_first_token"), 0.01, 1.1, "hold", True)
    assert found.revision == "2026-12-01"


def test_a_switch_is_judged_by_errors_unless_more_is_said() -> None:
    given = "poolRef: {name: a}\nnew: {model: b}\nblueGreen: {seconds: 9}\n"
    found = [read(given + test).test for test in ("", "test: {falseAlarms: 0.1}", "test: {metrics: [duration]}")]
    assert [None if each is None else each.metrics for each in found] == [("errors",), ("errors",), ("duration",)]


CANARY = "canary: {steps: [{weightPercent: 10, seconds: 60}]}"


@pytest.mark.parametrize(
    ("spec", "place", "problem"),
    [
        ("{poolRef: {name: a}, new: {model: b}}", "spec", "expected either canary or blueGreen"),
        (f"poolRef: {{name: a}}\nnew: {{model: b}}\n{CANARY}\nblueGreen: {{}}", "spec", "either canary or blueGreen"),
        (f"poolRef: {{name: a}}\nnew: {{}}\n{CANARY}", "spec.new", "expected a model, podLabels or a poolRef"),
        (f"poolRef: {{name: a}}\nold: {{model: b}}\nnew: {{model: b}}\n{CANARY}", "spec.new", "the same as old"),
        (
            f"poolRef: {{name: a}}\nold: {{poolRef: {{name: b}}}}\nnew: {{model: b}}\n{CANARY}",
            "spec.old.poolRef",
            "unknown key",
        ),
        (
            "{poolRef: {name: a}, new: {model: b}, canary: {steps: []}}",
            "spec.canary.steps",
            "expected 1 to 50 steps",
        ),
        (
            "{poolRef: {name: a}, new: {model: b}, canary: {steps: [{weightPercent: 101, seconds: 1}]}}",
            "spec.canary.steps[0].weightPercent",
            "100",
        ),
        (
            "{poolRef: {name: a}, new: {model: b}, canary: {steps: [{weightPercent: 10}]}}",
            "spec.canary.steps[0]",
            "expected seconds, requests or both",
        ),
        (
            "{poolRef: {name: a}, new: {model: b}, canary: {steps: [{weightPercent: 0, requests: 5}]}}",
            "spec.canary.steps[0].requests",
            "gets no requests",
        ),
        (
            "{poolRef: {name: a}, new: {model: b}, canary: {steps: "
            "[{weightPercent: 10, seconds: 1}, {weightPercent: 5, seconds: 1}]}}",
            "spec.canary.steps[1]",
            "a rollout goes one way",
        ),
        (f"poolRef: {{name: a}}\nnew: {{model: b}}\n{CANARY}\ntest: {{metrics: [ttft]}}", "spec.test.metrics[0]", ""),
        (f"poolRef: {{name: a}}\nnew: {{model: b}}\n{CANARY}\ntest: {{falseAlarms: 0}}", "spec.test.falseAlarms", ""),
        (f"poolRef: {{name: a}}\nnew: {{model: b}}\n{CANARY}\nsessionHeaders: ['a b']", "spec.sessionHeaders[0]", ""),
    ],
)
def test_a_mistake_is_said_with_its_place(spec: str, place: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(spec)
    found = [line for line in caught.value.lines() if place in line and problem in line]
    assert found, caught.value.lines()


def test_a_pool_that_is_not_in_the_document_is_a_mistake_there() -> None:
    text = f"""\
endpoints: []
objects:
- apiVersion: infscale.dev/v1alpha1
  kind: ModelRollout
  metadata: {{name: r}}
  spec: {{poolRef: {{name: default}}, new: {{poolRef: {{name: greeen}}}}, {CANARY}}}
"""
    with pytest.raises(ConfigError, match="pool 'default/greeen' does not exist"):
        read_whole(text, "f", read_state)
    state = read_state(load(text.replace("{poolRef: {name: greeen}}", "{model: m}"), "f"))
    assert [each.key.name for each in state.rollouts] == ["r"]


EVERYTHING = """
poolRef: {name: chat}
model: llama
old: {model: a, podLabels: {version: v1}}
new: {model: b, podLabels: {version: v2}, poolRef: {name: green}}
canary: {steps: [{weightPercent: 10, seconds: 60, requests: 5}]}
blueGreen: {previewSeconds: 1, seconds: 2, requests: 3}
test: {enabled: true, metrics: [errors], falseAlarms: 0.05, toleranceRatio: 1, onAlarm: hold, count: sessions,
  warmupRequests: 5}
sessions: stay
sessionHeaders: [x-session-id]
readyEndpoints: 1
revision: "1"
"""


def keys(value: object, path: str = "") -> set[str]:
    """The paths of all keys of a document; a list has those of its first element."""
    if isinstance(value, list):
        return keys(value[0], f"{path}[]") if value else set()
    if not isinstance(value, dict) or path.endswith(".podLabels"):
        return {path}
    return {path, *(each for key, inner in value.items() for each in keys(inner, f"{path}.{key}"))}


def declared(schema: dict[str, object], path: str = "") -> set[str]:
    """The same of a schema."""
    if schema["type"] == "array":
        return declared(schema["items"], f"{path}[]")  # type: ignore[arg-type] # a schema
    parts: dict[str, dict[str, object]] = schema.get("properties", {})  # type: ignore[assignment] # schemas
    return {path, *(each for key, inner in parts.items() for each in declared(inner, f"{path}.{key}"))}


def test_the_definition_for_clusters_has_the_same_keys() -> None:
    """`EVERYTHING` has each key once: what it has and the reader takes is what the definition declares."""
    file = Path(__file__).parents[2] / "manifests" / "adapter" / "rollouts.yaml"
    definition = yaml.safe_load(file.read_text())
    (version,) = definition["spec"]["versions"]
    document = yaml.safe_load(EVERYTHING)
    assert keys(document) == declared(version["schema"]["openAPIV3Schema"]["properties"]["spec"])
    for left_out in ("canary", "blueGreen"):
        assert isinstance(
            read(yaml.safe_dump({key: each for key, each in document.items() if key != left_out})), Rollout
        )
    assert (definition["spec"]["group"], version["name"]) == ("infscale.dev", "v1alpha1")
