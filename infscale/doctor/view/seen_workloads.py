"""Workloads and their pods, as far as scaling and draining depend on them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

from infscale.endpoint import ObjectKey
from infscale.labels import Selector


@dataclass(frozen=True, slots=True)
class SeenContainer:
    """A container of a pod template.

    `pre_stop_seconds` is how long its hook waits, None without one and where that cannot be seen. `arguments` are those
    of its command line. `requests` are the resources it requests. `has_pre_stop`: there is a hook of whatever kind.
    """

    name: str
    ports: tuple[int, ...] = ()
    has_readiness: bool = False
    has_liveness: bool = False
    has_startup: bool = False
    pre_stop_seconds: float | None = None
    arguments: tuple[str, ...] = ()
    requests: frozenset[str] = frozenset()
    has_pre_stop: bool = False

    def number(self, flags: Iterable[str]) -> int | None:
        """The whole number that one of the flags has on its command line, a unit of seconds left out."""
        words = " ".join(self.arguments).replace("=", " ").split()
        found = (value.removesuffix("s") for word, value in pairwise(words) if word in set(flags))
        return next((int(value) for value in found if value.isdecimal() and len(value) < 10), None)


@dataclass(frozen=True, slots=True)
class SeenWorkload:
    """A Deployment or StatefulSet. `selector` None: it cannot be read. `match_labels` are those of its selector."""

    kind: str
    key: ObjectKey
    replicas: int
    selector: Selector | None
    match_labels: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    pod_labels: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    containers: tuple[SeenContainer, ...] = ()
    grace_seconds: float = 30.0
    account: str = "default"
    config_maps: tuple[str, ...] = ()

    KINDS: ClassVar[frozenset[str]] = frozenset({"Deployment", "StatefulSet"})
    """What kinds are read so."""

    @property
    def resource(self) -> str:
        """As kubectl writes its kind."""
        return self.kind.lower()


@dataclass(frozen=True, slots=True)
class SeenPod:
    """A pod. `owner` is the kind and name of its controller, with a ReplicaSet's owner in that one's place.

    Times are Unix seconds. `requests_milli` are the requests of all its containers together by resource, and by
    resource and container; a resource that a container does not request is None.
    """

    key: ObjectKey
    labels: Mapping[str, str] = field(hash=False)
    phase: str = "Running"
    ready: bool | None = True
    deleting: bool = False
    owner: tuple[str, str] | None = None
    ready_changed_at: float = 0.0
    started_at: float | None = None
    ports: tuple[int, ...] = ()
    requests_milli: Mapping[tuple[str, str], int | None] = field(
        default_factory=dict[tuple[str, str], int | None], hash=False
    )

    @property
    def is_usable(self) -> bool:
        """Whether requests can be sent to it."""
        return self.phase == "Running" and self.ready is True and not self.deleting


@dataclass(frozen=True, slots=True)
class SeenScale:
    """The ``/scale`` of an HPA's target: what the controller reads of it.

    `selector` is the string form that requests carry, `chooses` what it means; None: it is empty or cannot be read.
    """

    replicas: int
    status_replicas: int
    selector: str
    chooses: Selector | None = None
