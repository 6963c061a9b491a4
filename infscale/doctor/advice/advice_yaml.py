"""Advice as a manifest for ``kubectl apply``, with the reasons as comments."""

import textwrap
from collections.abc import Iterator

from infscale.doctor.advice.scaling_advice import Advice, AdvisedMetric, Number

_WIDTH = 100
_POLL_SECONDS = 30


def autoscaler(advice: Advice) -> str:
    """A HorizontalPodAutoscaler."""
    return "\n".join([*_head(advice), *_autoscaler(advice), ""])


def scaled_object(advice: Advice, scaler: str) -> str:
    """A ScaledObject whose trigger asks infscale's external scaler at `scaler` (``host:port``)."""
    return "\n".join([*_head(advice), *_scaled_object(advice, scaler), ""])


def _head(advice: Advice) -> Iterator[str]:
    facts = advice.facts
    wanted = ", ".join(each.text for each in advice.goals)
    known = [f"{facts.target}", f"{facts.replicas} pod{'s' * (facts.replicas != 1)} now"]
    known += [f"batch of {facts.batch}"] if facts.batch is not None else []
    known += [f"{facts.load_seconds:.0f} s to load a model"] if facts.load_seconds is not None else []
    yield from _comment(f"Keeps {wanted} of pool {facts.pool}. Made for: {', '.join(known)}.", 0)


def _autoscaler(advice: Advice) -> Iterator[str]:
    facts = advice.facts
    yield from (
        "apiVersion: autoscaling/v2",
        "kind: HorizontalPodAutoscaler",
        f"metadata: {{name: {facts.target.name}, namespace: {facts.pool.namespace}}}",
        "spec:",
        f"  scaleTargetRef: {_target(advice)}",
    )
    yield from _number("minReplicas", advice.minimum, 2)
    yield from _number("maxReplicas", advice.maximum, 2)
    yield "  metrics:"
    for each in advice.metrics:
        yield from _metric(each, advice)
    yield "  behavior:"
    yield from _behavior(advice, 4)


def _target(advice: Advice) -> str:
    target = advice.facts.target
    return f"{{apiVersion: {target.api_version}, kind: {target.kind}, name: {target.name}}}"


def _metric(metric: AdvisedMetric, advice: Advice) -> Iterator[str]:
    facts = advice.facts
    key = "value" if metric.target_type == "Value" else "averageValue"
    yield from _comment(f"{metric.why}.", 2)
    yield f"  - type: {metric.form}"
    yield f"    {metric.form.lower()}:"
    if metric.form == "Object":
        described = f"{{apiVersion: {facts.pool_version}, kind: InferencePool, name: {facts.pool.name}}}"
        yield f"      describedObject: {described}"
    yield f"      metric: {{name: {metric.name}}}"
    yield f'      target: {{type: {metric.target_type}, {key}: "{metric.target}"}}'


def _behavior(advice: Advice, indent: int) -> Iterator[str]:
    space = " " * indent
    yield f"{space}scaleUp:"
    yield from _comment("0: a burst is answered at the next look, within 15 s.", indent + 2)
    yield f"{space}  stabilizationWindowSeconds: 0"
    yield from _tolerance(advice, indent + 2)
    yield from _comment(f"{advice.up_period.why}.", indent + 2)
    yield f"{space}  policies: [{{type: Percent, value: 100, periodSeconds: {advice.up_period.value}}}]"
    yield f"{space}scaleDown:"
    yield from _number("stabilizationWindowSeconds", advice.down_window, indent + 2)
    yield from _tolerance(advice, indent + 2)
    yield from _comment(f"{advice.down_period.why}.", indent + 2)
    yield f"{space}  policies: [{{type: Pods, value: 1, periodSeconds: {advice.down_period.value}}}]"


def _tolerance(advice: Advice, indent: int) -> Iterator[str]:
    if advice.tolerance is not None:
        yield from _comment("10 %, the usual one: less than that is noise of single requests.", indent)
        yield f"{' ' * indent}tolerance: {advice.tolerance}"


def _scaled_object(advice: Advice, scaler: str) -> Iterator[str]:
    facts = advice.facts
    yield from (
        "apiVersion: keda.sh/v1alpha1",
        "kind: ScaledObject",
        f"metadata: {{name: {facts.target.name}, namespace: {facts.pool.namespace}}}",
        "spec:",
        f"  scaleTargetRef: {_target(advice)}",
    )
    yield from _number("minReplicaCount", advice.minimum, 2)
    yield from _number("maxReplicaCount", advice.maximum, 2)
    yield from _comment("How often KEDA asks beside the HPA; activation is pushed and does not wait for it.", 2)
    yield f"  pollingInterval: {_POLL_SECONDS}"
    yield from _number("cooldownPeriod", advice.down_window, 2)
    yield from _comment("While nothing is known: no fewer replicas than now, and not none.", 2)
    replicas = max(1, advice.minimum.value)
    yield f"  fallback: {{failureThreshold: 3, replicas: {replicas}, behavior: currentReplicasIfHigher}}"
    yield from ("  advanced:", "    horizontalPodAutoscalerConfig:", "      behavior:")
    yield from _behavior(advice, 8)
    wanted = ",".join(each.text for each in advice.goals)
    yield "  triggers:"
    yield from _comment("The scaler finds the number of replicas from pool and goals: there is no threshold.", 2)
    yield from (
        "  - type: external-push",
        "    metadata:",
        f"      scalerAddress: {scaler}",
        f"      pool: {facts.pool.name}",
        f"      slo: {wanted}",
    )


def _number(key: str, number: Number, indent: int) -> Iterator[str]:
    yield from _comment(f"{number.why}.", indent)
    yield f"{' ' * indent}{key}: {number.value}"


def _comment(text: str, indent: int) -> list[str]:
    start = f"{' ' * indent}# "
    return textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False)
