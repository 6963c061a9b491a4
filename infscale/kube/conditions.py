"""Status conditions of the inference objects that no other controller writes: what is wanted, and whether that is news.

An `InferencePool`'s status belongs to the gateways and is left alone.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from types import MappingProxyType
from typing import Any

from infscale.discovery.objects import InferenceModel
from infscale.endpoint import Objective, ObjectKey, Rewrite, Rollout
from infscale.kube import watched_objects as objects
from infscale.kube.api.resources import Resource
from infscale.kube.assembly import SeenObjects, models_in_use, pools_in_use
from infscale.kube.watched_objects import CONDITION_KEYS, Condition, Definition, Record, Standing

ACCEPTED = "Accepted"
PROGRESSING = "Progressing"
LOAD_KNOWN = "LoadKnown"
FRESH_METRICS = "FreshMetrics"
NO_FRESH_METRICS = "NoFreshMetrics"
INVALID = "Invalid"
POOL_NOT_FOUND = "PoolNotFound"
MODEL_NAME_IN_USE = "ModelNameInUse"
SUPERSEDED = "Superseded"

_UNKNOWN_LOAD = ("False", NO_FRESH_METRICS, "no ready endpoint of the pool has fresh metrics")
_KNOWN_LOAD = ("True", FRESH_METRICS, "endpoints of the pool report their load")
_MESSAGE_LIMIT = 1024

Words = tuple[str, str, str]
"""Status, reason and message of a condition."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether an object is in effect, and why.

    `unknown_load`: the load of no endpoint of its pool is known. `progress` says how far a rollout is.
    """

    accepted: bool
    reason: str
    message: str
    unknown_load: bool = False
    progress: Words | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """An object and the verdict on it."""

    resource: Resource
    key: ObjectKey
    standing: Standing
    verdict: Verdict

    @property
    def path(self) -> str:
        """Where its status is written."""
        return self.resource.path(self.key.namespace, self.key.name, "status")


@dataclass(frozen=True, slots=True)
class _Court:
    """What verdicts are made of: the pools there are, model names with their holders, and what is known otherwise."""

    pools: frozenset[ObjectKey]
    beaten: Mapping[ObjectKey, ObjectKey]
    unknown_load: frozenset[ObjectKey]
    progress: Mapping[ObjectKey, Words]


def judge(
    seen: SeenObjects,
    unknown_load: frozenset[ObjectKey] = frozenset(),
    progress: Mapping[ObjectKey, Words] = MappingProxyType({}),
) -> tuple[Judged, ...]:
    """The verdict on every object whose status is ours to write.

    `unknown_load` are pools that know no load, and `progress` says how far rollouts are.
    """
    pools = frozenset({*seen.pools, *seen.legacy_pools, *pools_in_use(seen).records})
    court = _Court(pools, models_in_use(seen.models), unknown_load, progress)
    return (
        *_judged(objects.OBJECTIVE, seen.objectives, court),
        *_judged(objects.LEGACY_OBJECTIVE, seen.legacy_objectives, court, seen.objectives),
        *_judged(objects.REWRITE, seen.rewrites, court),
        *_judged(objects.LEGACY_REWRITE, seen.legacy_rewrites, court, seen.rewrites),
        *_judged(objects.MODEL, seen.models, court),
        *_judged(objects.ROLLOUT, seen.rollouts, court),
    )


AnyRecord = Record[Objective] | Record[Rewrite] | Record[InferenceModel] | Record[Rollout]


def _judged(
    definition: Definition[Any], records: Mapping[ObjectKey, AnyRecord], court: _Court, newer: Iterable[ObjectKey] = ()
) -> Iterator[Judged]:
    superseding = frozenset(newer)
    for key, record in records.items():
        if record.standing is not None:
            verdict = _verdict(record, court, superseded=key in superseding)
            yield Judged(definition.resource, key, record.standing, verdict)


def _verdict(record: AnyRecord, court: _Court, *, superseded: bool) -> Verdict:
    key = record.key
    if record.problem is not None or record.value is None:
        return Verdict(False, INVALID, (record.problem or "")[:_MESSAGE_LIMIT])
    if superseded:
        return Verdict(False, SUPERSEDED, "the object of this name in the newer API group counts instead")
    if isinstance(record.value, InferenceModel) and key in court.beaten:
        holder = court.beaten[key].name
        return Verdict(False, MODEL_NAME_IN_USE, f"the older InferenceModel {holder} has this modelName in the pool")
    named = record.value.objective.pool if isinstance(record.value, InferenceModel) else record.value.pool
    leads_to = record.value.new.pool if isinstance(record.value, Rollout) else ""
    for pool in filter(None, (named, leads_to)):
        if ObjectKey(key.namespace, pool) not in court.pools:
            return Verdict(False, POOL_NOT_FOUND, f"there is no InferencePool {pool} in namespace {key.namespace}")
    unknown_load = ObjectKey(key.namespace, named) in court.unknown_load
    progress = court.progress.get(key) if isinstance(record.value, Rollout) else None
    return Verdict(True, ACCEPTED, f"in effect for InferencePool {named}", unknown_load, progress)


def updated(standing: Standing, verdict: Verdict, now: str) -> tuple[Condition, ...] | None:
    """The conditions that say `verdict`, or None where they already do; `now` is RFC 3339.

    Conditions of other writers stay. The placeholder that the kinds' definitions set until a controller comes by goes.
    """
    known = {each.type: each for each in standing.conditions if not _is_placeholder(each)}

    def say(kind: str, status: str, reason: str, message: str) -> None:
        before = known.get(kind)
        since = before.last_transition_time if before is not None and before.status == status else now
        known[kind] = Condition(kind, status, reason, message, since, standing.generation)

    say(ACCEPTED, "True" if verdict.accepted else "False", verdict.reason, verdict.message)
    if verdict.progress is not None:
        say(PROGRESSING, *verdict.progress)
    # Said where it is news: an object whose pool never was without fresh metrics has no such condition.
    if verdict.unknown_load or LOAD_KNOWN in known:
        say(LOAD_KNOWN, *(_UNKNOWN_LOAD if verdict.unknown_load else _KNOWN_LOAD))
    wanted = tuple(known.values())
    return None if wanted == standing.conditions else wanted


def _is_placeholder(condition: Condition) -> bool:
    return condition.type in {ACCEPTED, "Ready"} and (condition.status, condition.reason) == ("Unknown", "Pending")


def as_patch(standing: Standing, conditions: Iterable[Condition]) -> dict[str, Any]:
    """The merge patch that writes `conditions`, refused by the server if the object is not as it was seen."""
    return {
        "metadata": {"resourceVersion": standing.resource_version},
        "status": {"conditions": [_plain(each) for each in conditions]},
    }


def _plain(condition: Condition) -> dict[str, Any]:
    *texts, generation = astuple(condition)
    plain: dict[str, Any] = dict(zip(CONDITION_KEYS, texts, strict=True))
    return plain if generation is None else {**plain, "observedGeneration": generation}
