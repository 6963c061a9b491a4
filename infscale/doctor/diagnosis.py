"""A diagnosis: what each HPA, ScaledObject and pool asks and will do, and what was found."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from infscale.doctor.next_sync import NextSync, next_sync
from infscale.doctor.rules.rule import Finding, Severity
from infscale.doctor.rules.rule_table import RULES, findings, unchecked_for
from infscale.doctor.view.cluster_view import ClusterView
from infscale.doctor.view.seen_apis import Answer
from infscale.doctor.view.seen_routing import SeenPool
from infscale.doctor.view.seen_scalers import SeenAutoscaler, SeenMetric, SeenScaledObject
from infscale.documents.strict_document import quoted
from infscale.documents.suggestions import did_you_mean
from infscale.endpoint import ObjectKey
from infscale.errors import ConfigError


@dataclass(frozen=True, slots=True)
class AskedMetric:
    """One metric of an HPA, what was answered, and the age of the oldest value in seconds (None: no value)."""

    metric: SeenMetric
    answer: Answer | None
    age_seconds: float | None
    says: str


@dataclass(frozen=True, slots=True)
class ExaminedAutoscaler:
    """An HPA: what it asks, and what the controller will do."""

    autoscaler: SeenAutoscaler
    metrics: tuple[AskedMetric, ...]
    next: NextSync


@dataclass(frozen=True, slots=True)
class ExaminedPool:
    """A pool and the number of its pods."""

    pool: SeenPool
    pods: int
    ready: int


@dataclass(frozen=True, slots=True)
class Unchecked:
    """Rules that could not look, and why."""

    codes: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All that there is to say of a cluster, or of what was asked about."""

    minor: int | None
    infscale: str
    autoscalers: tuple[ExaminedAutoscaler, ...]
    scaled_objects: tuple[SeenScaledObject, ...]
    pools: tuple[ExaminedPool, ...]
    findings: tuple[Finding, ...]
    unchecked: tuple[Unchecked, ...]

    def count(self, severity: Severity) -> int:
        """How many findings are of that severity."""
        return sum(each.severity is severity for each in self.findings)


def diagnosed(view: ClusterView, names: Sequence[str] = ()) -> Diagnosis:
    """The diagnosis of a cluster; with `names` that of these HPAs, ScaledObjects and pools and what belongs to them.

    Raises `ConfigError` for a name that nothing has.
    """
    about = _Selection.of(view, names)
    return Diagnosis(
        view.minor,
        _infscale(view),
        tuple(_examined(view, each) for each in view.autoscalers if each.key in about.scalers),
        tuple(each for each in view.scaled_objects if each.key in about.scalers),
        tuple(_pool(view, each) for each in view.every_pool if each.key in about.pools),
        tuple(each for each in findings(view) if about.has(each.found.subject.key)),
        _unchecked(view),
    )


def _infscale(view: ClusterView) -> str:
    if "infscale" in view.unseen:
        return "whether infscale is installed cannot be seen"
    if not view.infscale.installed:
        return f"infscale is not installed (no Service {view.infscale.service})"
    apis = [each.name for each in view.api_services if each.service == view.infscale.service]
    return f"infscale is installed ({view.infscale.service}), and answers {', '.join(apis) or 'no metrics API'}"


def _examined(view: ClusterView, autoscaler: SeenAutoscaler) -> ExaminedAutoscaler:
    sync = next_sync(view, autoscaler)
    words = {index: each.explanation for index, each in enumerate(sync.proposals)}
    metrics = tuple(_asked(view, autoscaler, each, words.get(at, "")) for at, each in enumerate(autoscaler.metrics))
    return ExaminedAutoscaler(autoscaler, metrics, sync)


def _asked(view: ClusterView, autoscaler: SeenAutoscaler, metric: SeenMetric, says: str) -> AskedMetric:
    answer = view.answer(autoscaler, metric)
    times = [each.at for each in (() if answer is None else answer.items) if each.at is not None]
    return AskedMetric(metric, answer, max(0.0, view.now - min(times)) if times else None, says)


def _pool(view: ClusterView, pool: SeenPool) -> ExaminedPool:
    members = view.members(pool)
    return ExaminedPool(pool, len(members), sum(each.is_usable for each in members))


def _unchecked(view: ClusterView) -> tuple[Unchecked, ...]:
    codes: dict[str, list[str]] = {}
    for rule in RULES:
        for kind in unchecked_for(view, rule):
            codes.setdefault(kind, []).append(rule.code)
    named = {kind: f"{kind}: {why}" for kind, why in view.unseen.items()}
    return tuple(Unchecked(tuple(codes.get(kind, ())), why) for kind, why in named.items())


@dataclass(frozen=True, slots=True)
class _Selection:
    """What is asked about: the keys of scalers and of pools, and of everything that belongs to them."""

    scalers: frozenset[ObjectKey]
    pools: frozenset[ObjectKey]
    related: frozenset[ObjectKey] | None
    """None: everything."""

    @classmethod
    def of(cls, view: ClusterView, names: Sequence[str]) -> "_Selection":
        """What `names` mean. Raises `ConfigError`."""
        scalers = [*(each.key for each in view.autoscalers), *(each.key for each in view.scaled_objects)]
        pools = [each.key for each in view.every_pool]
        if not names:
            return cls(frozenset(scalers), frozenset(pools), None)
        meant = frozenset(key for name in names for key in _named(name, [*scalers, *pools]))
        wanted = {each.key for each in view.autoscalers if each.key in meant or _pool_key(view, each) in meant}
        wanted |= {each.key for each in view.scaled_objects if each.key in meant}
        chosen = {each.key for each in view.every_pool if each.key in meant}
        scaled = (_pool_key(view, each) for each in view.autoscalers if each.key in wanted)
        chosen |= {key for key in scaled if key is not None}
        return cls(frozenset(wanted), frozenset(chosen), frozenset(_related(view, wanted | chosen)))

    def has(self, key: ObjectKey) -> bool:
        """Whether something found of that object belongs here; what is the whole cluster's does."""
        return self.related is None or not key.namespace or key in self.related


def _named(name: str, keys: Sequence[ObjectKey]) -> Sequence[ObjectKey]:
    found = [each for each in keys if name in (each.name, str(each))]
    if not found:
        meant = did_you_mean(name, sorted({each.name for each in keys}))
        problem = f"there is no HPA, ScaledObject or InferencePool {quoted(name)}{meant}"
        raise ConfigError("arguments", "NAME", problem)
    return found


def _pool_key(view: ClusterView, autoscaler: SeenAutoscaler) -> ObjectKey | None:
    pool = view.pool_of(autoscaler)
    return None if pool is None else pool.key


def _related(view: ClusterView, keys: Iterable[ObjectKey]) -> Iterable[ObjectKey]:
    """Scalers and pools, their workloads, and what names one of the pools."""
    known = frozenset(keys)
    yield from known
    targets = [(each.key, each.target) for each in view.autoscalers]
    targets += [(each.key, each.target) for each in view.scaled_objects]
    yield from (ObjectKey(key.namespace, target.name) for key, target in targets if key in known)
    for workload in view.workloads:
        if any(pool.key in known for pool in view.pools_of(workload)):
            yield workload.key
    for user in view.pool_users:
        if ObjectKey(user.key.namespace, user.pool) in known:
            yield user.key
    for route in view.routes:
        if any(ObjectKey(each.namespace, each.name) in known for rule in route.rules for each in rule):
            yield route.key
