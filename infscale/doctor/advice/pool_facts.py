"""What is known of a pool that is to be scaled: from a cluster, or from a discovery file."""

from collections.abc import Sequence
from dataclasses import dataclass

from infscale.discovery.objects import POOL_GROUP
from infscale.doctor.metric_names import BATCH_FLAGS
from infscale.doctor.view.cluster_view import ClusterView
from infscale.doctor.view.seen_scalers import ObjectRef
from infscale.documents.strict_document import quoted
from infscale.documents.suggestions import did_you_mean
from infscale.endpoint import DiscoveryState, ObjectKey
from infscale.errors import ConfigError


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """A pool and the workload behind it.

    `batch` is how many requests one of its engines runs at once, `load_seconds` how long a model takes to load, `minor`
    the cluster's Kubernetes 1.x; None: not known.
    """

    pool: ObjectKey
    pool_version: str
    target: ObjectRef
    replicas: int
    batch: int | None = None
    load_seconds: float | None = None
    minor: int | None = None


def of_cluster(view: ClusterView, name: str, target: ObjectRef | None) -> PoolFacts:
    """The facts of the pool `name` (``namespace/name`` or the name alone) in a cluster. Raises `ConfigError`."""
    key = chosen(name, [each.key for each in view.every_pool])
    pool = min((each for each in view.every_pool if each.key == key), key=lambda each: each.group != POOL_GROUP)
    workloads = [each for each in view.workloads if pool in view.pools_of(each)]
    if target is None:
        refs = [ObjectRef("apps/v1", each.kind, each.key.name) for each in workloads]
        target = _only(key, refs)
    workload = view.workload(key.namespace, target)
    batches = [] if workload is None else [each.number(BATCH_FLAGS) for each in workload.containers]
    return PoolFacts(
        key,
        f"{pool.group}/{pool.version}",
        target,
        len(view.members(pool)),
        next((each for each in batches if each), None),
        None,
        view.minor,
    )


def of_state(state: DiscoveryState, name: str, target: ObjectRef | None) -> PoolFacts:
    """The same from a discovery file. Raises `ConfigError`."""
    key = chosen(name, [each.key for each in state.pools])
    [pool] = [each for each in state.pools if each.key == key]
    members = state.members(pool)
    if target is None:
        owners = [each for each in state.objects if each.owns_pods and any(map(each.describes, members))]
        target = _only(key, [ObjectRef(f"{each.group}/{each.version}", each.kind, each.key.name) for each in owners])
    return PoolFacts(key, f"{POOL_GROUP}/v1", target, len(members))


def chosen(name: str, keys: Sequence[ObjectKey]) -> ObjectKey:
    """The pool that is meant. Raises `ConfigError`."""
    found = list(dict.fromkeys(each for each in keys if name in (each.name, str(each))))
    if not found:
        meant = did_you_mean(name, sorted({each.name for each in keys}))
        raise ConfigError("arguments", "POOL", f"there is no InferencePool {quoted(name)}{meant}")
    if len(found) > 1:
        listed = ", ".join(map(str, found))
        raise ConfigError("arguments", "POOL", f"several pools have this name: {listed}; give the namespace, too")
    return found[0]


def _only(pool: ObjectKey, targets: Sequence[ObjectRef]) -> ObjectRef:
    if len(targets) == 1:
        return targets[0]
    listed = "none is" if not targets else f"{', '.join(map(str, targets))} are"
    problem = f"one workload is scaled, and {listed} behind pool {pool}: name it, such as Deployment/vllm"
    raise ConfigError("arguments", "--target", problem)
