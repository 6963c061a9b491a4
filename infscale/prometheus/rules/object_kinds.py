"""Kinds of Kubernetes objects by the names that labels, rules and request paths give them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

_INFERENCE: Final = "inference.networking.k8s.io"


@dataclass(frozen=True, slots=True)
class ObjectKind:
    """One kind: API group ("" is the core), version, and its names. Root-scoped ones have no namespace."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As objects write it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


def _kind(kind: str, group: str = "", version: str = "v1", *, namespaced: bool = True) -> ObjectKind:
    singular = kind.lower()
    return ObjectKind(group, version, kind, plural_of(singular), singular, namespaced)


def plural_of(singular: str) -> str:
    """The plural that API types usually have (as `meta.UnsafeGuessKindToResource` of apimachinery makes it)."""
    if singular.endswith("s"):
        return f"{singular}es"
    return f"{singular.removesuffix('y')}ies" if singular.endswith("y") else f"{singular}s"


NAMESPACE: Final = _kind("Namespace", namespaced=False)
POD: Final = _kind("Pod")

KNOWN_KINDS: Final = (
    NAMESPACE,
    _kind("Node", namespaced=False),
    _kind("PersistentVolume", namespaced=False),
    POD,
    _kind("Service"),
    _kind("PersistentVolumeClaim"),
    _kind("ReplicationController"),
    _kind("ConfigMap"),
    _kind("Secret"),
    ObjectKind("", "v1", "Endpoints", "endpoints", "endpoints"),
    *(_kind(each, "apps") for each in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")),
    *(_kind(each, "extensions", "v1beta1") for each in ("Deployment", "DaemonSet", "ReplicaSet", "Ingress")),
    *(_kind(each, "batch") for each in ("Job", "CronJob")),
    _kind("Ingress", "networking.k8s.io"),
    _kind("HorizontalPodAutoscaler", "autoscaling", "v2"),
    _kind("InferencePool", _INFERENCE),
    _kind("InferencePool", "inference.networking.x-k8s.io", "v1alpha2"),
    _kind("Gateway", "gateway.networking.k8s.io"),
    _kind("HTTPRoute", "gateway.networking.k8s.io"),
    _kind("LeaderWorkerSet", "leaderworkerset.x-k8s.io"),
    _kind("Rollout", "argoproj.io", "v1alpha1"),
    _kind("InferenceService", "serving.kserve.io", "v1beta1"),
    _kind("LLMInferenceService", "serving.kserve.io", "v1alpha1"),
)
"""Those that rules name without saying more; a name that several groups have means the first of them."""


class ObjectKinds:
    """Finds kinds by name; those that rules name by group and resource are added to the known ones."""

    def __init__(self, more: Iterable[ObjectKind] = ()) -> None:
        self._by_name: dict[tuple[str | None, str], ObjectKind] = {}
        for each in (*KNOWN_KINDS, *more):
            for name in (each.plural, each.singular):
                self._by_name.setdefault((each.group, name), each)
                self._by_name.setdefault((None, name), each)

    def find(self, name: str, group: str | None = None) -> ObjectKind | None:
        """The kind with that plural or singular; `group` None: whichever has it."""
        return self._by_name.get((group, name.lower()))

    def __iter__(self) -> Iterator[ObjectKind]:
        return iter(dict.fromkeys(self._by_name.values()))


def guessed(resource: str, group: str) -> ObjectKind:
    """The kind that a rule names and that is not among the known ones: version and spelling are usual ones."""
    singular = resource.lower()
    return ObjectKind(group, "v1", resource[:1].upper() + resource[1:], plural_of(singular), singular)
