"""A diagnosis for programs. Keys are added, never renamed; `docs/doctor.md` lists them."""

from typing import Any

import orjson

from infscale.doctor.diagnosis import AskedMetric, Diagnosis, ExaminedAutoscaler, ExaminedPool
from infscale.doctor.diagnosis_text import target_words
from infscale.doctor.rules.rule import Finding, Severity
from infscale.doctor.view.seen_scalers import SeenScaledObject


def document(diagnosis: Diagnosis, *, one_line: bool = False) -> str:
    """The diagnosis as one JSON object, for people to read or on one line."""
    return orjson.dumps(plain(diagnosis), option=0 if one_line else orjson.OPT_INDENT_2).decode()


def plain(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as JSON values."""
    return {
        "kubernetesMinor": diagnosis.minor,
        "infscale": diagnosis.infscale,
        "errors": diagnosis.count(Severity.ERROR),
        "warnings": diagnosis.count(Severity.WARNING),
        "findings": [_finding(each) for each in diagnosis.findings],
        "autoscalers": [_autoscaler(each) for each in diagnosis.autoscalers],
        "scaledObjects": [_scaled_object(each) for each in diagnosis.scaled_objects],
        "pools": [_pool(each) for each in diagnosis.pools],
        "notLookedAt": [{"codes": each.codes, "why": each.why} for each in diagnosis.unchecked],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    found = finding.found
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "title": finding.title,
        "kind": found.subject.kind,
        "namespace": found.subject.key.namespace,
        "name": found.subject.key.name,
        "field": found.field,
        "cause": found.cause,
        "fix": found.fix,
    }


def _autoscaler(examined: ExaminedAutoscaler) -> dict[str, Any]:
    autoscaler, sync = examined.autoscaler, examined.next
    return {
        "namespace": autoscaler.key.namespace,
        "name": autoscaler.key.name,
        "target": {"kind": autoscaler.target.kind, "name": autoscaler.target.name},
        "minReplicas": autoscaler.min_replicas,
        "maxReplicas": autoscaler.max_replicas,
        "replicas": sync.current,
        "next": {"replicas": sync.desired, "reason": sync.reason, "explanation": sync.explanation},
        "metrics": [_metric(each) for each in examined.metrics],
        "conditions": [
            {"type": each.type, "status": each.status, "reason": each.reason, "message": each.message}
            for each in autoscaler.conditions
        ],
    }


def _metric(asked: AskedMetric) -> dict[str, Any]:
    answer = asked.answer
    return {
        "type": asked.metric.form,
        "name": asked.metric.name,
        "target": target_words(asked.metric),
        "url": None if answer is None else answer.path,
        "problem": None if answer is None else answer.problem,
        "values": []
        if answer is None
        else [{"object": each.name, "value": each.milli / 1000} for each in answer.items],
        "ageSeconds": asked.age_seconds,
        "says": asked.says,
    }


def _scaled_object(scaled: SeenScaledObject) -> dict[str, Any]:
    return {
        "namespace": scaled.key.namespace,
        "name": scaled.key.name,
        "target": {"kind": scaled.target.kind, "name": scaled.target.name},
        "minReplicas": scaled.min_replicas,
        "maxReplicas": scaled.max_replicas,
        "triggers": [each.type for each in scaled.triggers],
    }


def _pool(examined: ExaminedPool) -> dict[str, Any]:
    key = examined.pool.key
    return {"namespace": key.namespace, "name": key.name, "pods": examined.pods, "ready": examined.ready}
