"""`ModelRollout`, the project's own kind: how requests go over from one version of what serves them to another."""

from collections.abc import Mapping
from typing import Final

from infscale.discovery import names
from infscale.discovery.opened_object import open_object
from infscale.documents import values
from infscale.documents.strict_document import Field, attempted, quoted
from infscale.endpoint import ROLLOUT_METRICS, Rollout, RolloutMetric, RolloutStep, RolloutTest, Version

INFSCALE_GROUP: Final = "infscale.dev"

MAX_STEPS: Final = 50
MAX_HEADERS: Final = 8
MAX_SECONDS: Final = 30 * 86_400.0
_MOST: Final = 10_000_000

_METRICS: Final[Mapping[str, RolloutMetric]] = {
    "errors": "errors",
    "timeToFirstToken": "time_to_first_token",
    "timePerOutputToken": "time_per_output_token",
    "duration": "duration",
}
SESSION_HEADERS: Final[tuple[str, ...]] = ("x-session-id",)

_OPTIONAL: Final = ("model", "old", "test", "sessions", "sessionHeaders", "readyEndpoints", "revision")


def read_rollout(field: Field) -> Rollout:
    """A `ModelRollout`."""
    read = open_object(field)
    spec = read.require_spec()
    parts = spec.mapping(["poolRef", "new"], [*_OPTIONAL, "canary", "blueGreen"])
    pool = parts["poolRef"].attempt(_pool_name)
    old = attempted(parts, "old", lambda each: _version(each, may_move=False), Version())
    new = parts["new"].attempt(lambda each: _version(each, may_move=True))
    steps = spec.attempt(lambda each: _steps(each, parts))
    # Before and after a switch latencies differ for other reasons, too: another hour, and caches that are cold.
    metrics: tuple[RolloutMetric, ...] = ("errors",) if "blueGreen" in parts else ROLLOUT_METRICS
    usual: RolloutTest | None = RolloutTest(metrics)
    test = attempted(parts, "test", lambda each: _test(each, metrics), usual)
    sessions = attempted(parts, "sessions", values.one_of(("stay", "follow")), "stay")
    headers = attempted(parts, "sessionHeaders", _headers, SESSION_HEADERS)
    ready = attempted(parts, "readyEndpoints", values.whole(0, 10_000), 1)
    model = attempted(parts, "model", Field.text, None)
    revision = attempted(parts, "revision", Field.text, "")
    if not (new.refused or old.refused) and old.value == new.value:
        parts["new"].report("it is the same as old: give it another model, other podLabels or another poolRef")
    return Rollout(
        read.key,
        pool.value,
        old.value,
        new.value,
        steps.value,
        model.value,
        test.value,
        "follow" if sessions.value == "follow" else "stay",
        headers.value,
        ready.value,
        revision.value,
        read.created,
    )


def _pool_name(field: Field) -> str:
    name = field.mapping(["name"])["name"]
    return names.name(name)


def _version(field: Field, *, may_move: bool) -> Version:
    parts = field.mapping([], ["model", "podLabels", *(["poolRef"] if may_move else [])])
    if may_move and not parts:
        field.refuse("expected a model, podLabels or a poolRef")
    model = attempted(parts, "model", Field.text, None)
    labels = attempted(parts, "podLabels", names.labels, names.NO_LABELS)
    pool = attempted(parts, "poolRef", _pool_name, "")
    return Version(model.value, labels.value, pool.value)


def _steps(spec: Field, parts: Mapping[str, Field]) -> tuple[RolloutStep, ...]:
    if ("canary" in parts) == ("blueGreen" in parts):
        spec.refuse("expected either canary or blueGreen")
    if "blueGreen" in parts:
        given = parts["blueGreen"].mapping([], ["previewSeconds", "seconds", "requests"])
        preview = attempted(given, "previewSeconds", _seconds, 0.0)
        seconds, requests = _until(given)
        return (RolloutStep(0.0, preview.value), RolloutStep(1.0, seconds, requests))
    field = parts["canary"].mapping(["steps"])["steps"]
    count = len(field.items())
    if not 1 <= count <= MAX_STEPS:
        field.refuse(f"expected 1 to {MAX_STEPS} steps, got {count}")
    before = 0.0
    steps: list[RolloutStep] = []
    for item in field.items():
        step = _step(item)
        if step.weight_ratio < before:
            item.refuse("its weightPercent is below that of the step before: a rollout goes one way")
        before = step.weight_ratio
        steps.append(step)
    return tuple(steps)


def _step(field: Field) -> RolloutStep:
    parts = field.mapping(["weightPercent"], ["seconds", "requests"])
    weight = parts["weightPercent"].number(0, 100) / 100
    seconds, requests = _until(parts)
    if requests and not weight:
        parts["requests"].refuse("the new version gets no requests in a step of weightPercent 0")
    if not seconds and not requests:
        field.refuse("expected seconds, requests or both: when the step is over")
    return RolloutStep(weight, seconds, requests)


def _until(parts: Mapping[str, Field]) -> tuple[float, int]:
    """After how many seconds, and how many requests of the new version, a step is over."""
    seconds = attempted(parts, "seconds", _seconds, 0.0)
    return seconds.value, attempted(parts, "requests", values.whole(1, _MOST), 0).value


def _seconds(field: Field) -> float:
    return field.number(0, MAX_SECONDS)


def _test(field: Field, usual: tuple[RolloutMetric, ...]) -> RolloutTest | None:
    parts = field.mapping(
        [], ["enabled", "metrics", "falseAlarms", "toleranceRatio", "onAlarm", "count", "warmupRequests"]
    )
    if "enabled" in parts and not parts["enabled"].boolean():
        return None
    metrics = attempted(parts, "metrics", _metrics, usual)
    alarms = attempted(parts, "falseAlarms", lambda each: each.number(0.0001, 0.5), 0.05)
    tolerance = attempted(parts, "toleranceRatio", lambda each: each.number(1, 10), 1.0)
    on_alarm = attempted(parts, "onAlarm", values.one_of(("rollback", "hold")), "rollback")
    count = attempted(parts, "count", values.one_of(("sessions", "requests")), "sessions")
    warmup = attempted(parts, "warmupRequests", values.whole(0, _MOST), 20)
    return RolloutTest(
        metrics.value,
        alarms.value,
        tolerance.value,
        "hold" if on_alarm.value == "hold" else "rollback",
        count.value == "requests",
        warmup.value,
    )


def _metrics(field: Field) -> tuple[RolloutMetric, ...]:
    chosen: tuple[RolloutMetric, ...] = tuple(dict.fromkeys(field.each(_metric)))
    if not chosen:
        field.refuse("expected at least one metric; enabled: false is without a test")
    return chosen


def _metric(field: Field) -> RolloutMetric:
    return _METRICS[field.choice([*_METRICS])]


def _headers(field: Field) -> tuple[str, ...]:
    headers = tuple(each.lower() for each in field.each(_header))
    if len(headers) > MAX_HEADERS:
        field.refuse(f"expected at most {MAX_HEADERS} headers, got {len(headers)}")
    return headers


def _header(field: Field) -> str:
    name = field.text()
    if not all(each.isalnum() or each in "!#$%&'*+-.^_`|~" for each in name) or not name.isascii():
        field.refuse(f"expected the name of a header, got {quoted(name)}")
    return name
