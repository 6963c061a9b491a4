"""Endpoints and the inference objects around them, as discovery hands them over."""

import enum
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple

from infscale.labels import Selector

DRAINING_LABEL = "infscale.dev/draining"
"""With the value ``true`` an endpoint drains, whatever else is known of it."""

_MAX_HOST_NAME = 253
_HOST_LABEL = r"[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?"
_HOST_NAME = re.compile(rf"{_HOST_LABEL}(?:\.{_HOST_LABEL})*\.?")
_LETTER = re.compile("[a-zA-Z]")


class Phase(enum.Enum):
    """Life of an endpoint: ``starting → ready → draining``; one that is gone is absent from discovery.

    A starting endpoint has no metrics yet and is omitted from every answer; a draining one finishes what it has and
    gets nothing new.
    """

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"


class ObjectKey(NamedTuple):
    """Namespaced identity of a Kubernetes-style object. (A tuple, as `EndpointKey`: each request looks some up.)"""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class EndpointKey(NamedTuple):
    """Identity of an endpoint: the pod and, where the pod serves several ports, the data-parallel rank."""

    namespace: str
    name: str
    rank: int = 0

    @property
    def pod(self) -> ObjectKey:
        """The pod (or file entry) this endpoint belongs to."""
        return ObjectKey(self.namespace, self.name)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" + (f"-rank-{self.rank}" if self.rank else "")


@dataclass(frozen=True, slots=True)
class Workload:
    """What pods are replicas of: the kind and name of a Deployment, StatefulSet or the like in their namespace."""

    kind: str
    name: str


def authority(address: str, port: int) -> str:
    """``address:port`` as Envoy wants it; IPv6 addresses get brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def is_host_name(text: str) -> bool:
    """Whether `text` is a host name (RFC 1123), with a dot at its end or without; a number is none."""
    return (
        len(text.removesuffix(".")) <= _MAX_HOST_NAME
        and _HOST_NAME.fullmatch(text) is not None
        and _LETTER.search(text) is not None
    )


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One model server replica that can take a request, or a cluster of them behind its gateway.

    `address` is an IP address or, of a cluster, perhaps a host name; `port` is where it serves. The metrics page is at
    the same two unless `metrics_address` or `metrics_port` say otherwise. Labels are the pod's. `load_seconds` is how
    long the model took to load: from the start of the container until the pod was Ready; None is unknown. `workload`
    owns the pod; None where discovery does not know owners. `incarnation` is another one for another pod of the same
    name, and for another start of its container; "" where discovery does not know. `engine` is the dialect of the
    metrics page where something else than a label names it. `pod_uid` is the pod's UID, "" where discovery does not
    know. `authority` is the destination as sent to Envoy.
    """

    key: EndpointKey
    address: str
    port: int
    labels: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    phase: Phase = Phase.READY
    metrics_port: int | None = None
    load_seconds: float | None = None
    workload: Workload | None = None
    metrics_address: str | None = None
    incarnation: str = ""
    engine: str | None = None
    pod_uid: str = ""
    authority: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        for address in (self.address, self.metrics_address):
            if address is not None and not is_host_name(address):
                ipaddress.ip_address(address)
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port {self.port} is outside 1–65535")
        object.__setattr__(self, "authority", authority(self.address, self.port))

    def metrics_authority(self, port: int | None = None) -> str:
        """Where the metrics page is, on `port` where one is given."""
        return authority(self.metrics_address or self.address, port or self.metrics_port or self.port)


def is_loopback(host: str) -> bool:
    """Whether only processes of this machine can reach `host`, an IP address or ``localhost``."""
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


class FailureMode(enum.Enum):
    """What the gateway does when the picker does not answer (InferencePool `failureMode`)."""

    OPEN = "FailOpen"
    CLOSE = "FailClose"


@dataclass(frozen=True, slots=True)
class Pool:
    """An `InferencePool`: the endpoints that serve the same models, chosen by labels in its namespace.

    With `own_ports` only endpoints on `target_ports` belong to it: where endpoints are made from pods, the pools decide
    the ports. Without, endpoints say their port themselves. `requirements` are more conditions on labels, of a pool
    that is not written as an object; with `anywhere` it takes endpoints of every namespace. `h2c`: its endpoints speak
    HTTP/2 in plain text.
    """

    key: ObjectKey
    selector: Mapping[str, str] = field(hash=False)
    target_ports: tuple[int, ...] = ()
    failure_mode: FailureMode = FailureMode.CLOSE
    labels: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    own_ports: bool = False
    requirements: Selector = field(default_factory=Selector)
    anywhere: bool = False
    h2c: bool = False

    def selects(self, endpoint: Endpoint) -> bool:
        """Whether `endpoint` belongs to this pool: same namespace, every selector label equal, one of its own ports."""
        return (not self.own_ports or endpoint.port in self.target_ports) and self.chooses(
            endpoint.key.namespace, endpoint.labels
        )

    def chooses(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether a pod with these labels belongs to this pool."""
        return (
            (self.anywhere or namespace == self.key.namespace)
            and all(labels.get(key) == value for key, value in self.selector.items())
            and self.requirements.matches(labels)
        )


@dataclass(frozen=True, slots=True)
class OnlyPool:
    """The one pool that is followed: an `InferencePool` of the API group `group`, or one `made` without any object."""

    key: ObjectKey
    group: str
    made: Pool | None = None


@dataclass(frozen=True, slots=True)
class Objective:
    """An `InferenceObjective`: the priority of a request class; negative is sheddable.

    Requests name it in a header. With a `model` (from an `InferenceModel`) it is also the class of the requests that
    name this model and no objective.
    """

    key: ObjectKey
    priority: int
    pool: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class RewriteTarget:
    """One destination model of a rewrite rule; `weight` None means the rule gives no weights at all."""

    model: str
    weight: int | None = None


@dataclass(frozen=True, slots=True)
class RewriteRule:
    """Models matched exactly (any of them; empty matches every model) and where they go."""

    models: tuple[str, ...]
    targets: tuple[RewriteTarget, ...]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """An `InferenceModelRewrite`. `created` orders conflicting rewrites: the oldest wins."""

    key: ObjectKey
    pool: str
    rules: tuple[RewriteRule, ...]
    created: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """One side of a rollout: what serves its requests.

    `model` is the model or LoRA adapter that requests are sent as; None: the one that they would be sent as anyway.
    `labels` are those of its pods; without, pods are not told apart. `pool` is a pool of the rollout's namespace, ""
    the one that requests are for.
    """

    model: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    pool: str = ""


@dataclass(frozen=True, slots=True)
class RolloutStep:
    """A step: `weight_ratio` of the requests go to the new version.

    It is over after so many `seconds`, and when the new version has had so many `requests` that count for the test.
    """

    weight_ratio: float
    seconds: float = 0.0
    requests: int = 0


RolloutMetric = Literal["errors", "time_to_first_token", "time_per_output_token", "duration"]
ROLLOUT_METRICS: Final[tuple[RolloutMetric, ...]] = (
    "errors",
    "time_to_first_token",
    "time_per_output_token",
    "duration",
)


@dataclass(frozen=True, slots=True)
class RolloutTest:
    """How the new version is judged: which `metrics`, and what is done where it is worse.

    `false_alarms` is the probability that a version which is like the old one is ever taken for worse. Latencies up to
    `tolerance_ratio` times the old ones are as good. With `every_request` those of a session count each, not only one.
    Latencies of the new version's first `warmup_requests` do not count: its caches are cold, and adapters are loaded.
    """

    metrics: tuple[RolloutMetric, ...] = ROLLOUT_METRICS
    false_alarms: float = 0.05
    tolerance_ratio: float = 1.0
    on_alarm: Literal["rollback", "hold"] = "rollback"
    every_request: bool = False
    warmup_requests: int = 20


@dataclass(frozen=True, slots=True)
class Rollout:
    """A `ModelRollout`: how requests for a model of a pool go over from one version to another.

    `model` is what requests ask for, None: whatever. `sessions`: whether those under way ``stay`` with their version
    until all requests go to the new one, or ``follow`` the weight. `session_headers` (lower case) name sessions, the
    first that is there. It begins when so many `ready_endpoints` of the new version are. Another `revision` is another
    rollout, which begins anew. `created` orders rollouts of the same requests: the oldest counts.
    """

    key: ObjectKey
    pool: str
    old: Version
    new: Version
    steps: tuple[RolloutStep, ...]
    model: str | None = None
    test: RolloutTest | None = field(default_factory=RolloutTest)
    sessions: Literal["stay", "follow"] = "stay"
    session_headers: tuple[str, ...] = ("x-session-id",)
    ready_endpoints: int = 1
    revision: str = ""
    created: str = ""

    @property
    def switches(self) -> bool:
        """Whether all requests change over at once (blue-green)."""
        return all(step.weight_ratio in (0.0, 1.0) for step in self.steps)


@dataclass(frozen=True, slots=True)
class DescribedObject:
    """A Kubernetes object that metric values can belong to, beside pods and pools.

    `selector` says which endpoints in the object's namespace its values are made of; None: the object has no pods.
    Of a workload (a kind that owns pods) they are those it owns, where owners are known. `resource` is the lower-case
    plural, `group` empty for core kinds. `pool` is the pool that it declares its pods to be; `pool_problem` says why
    there is none although it declares one.
    """

    group: str
    version: str
    kind: str
    resource: str
    key: ObjectKey
    selector: Selector | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    owns_pods: bool = False
    pool: Pool | None = None
    pool_problem: str = ""

    def describes(self, endpoint: Endpoint) -> bool:
        """Whether values of `endpoint` are part of this object's."""
        if self.selector is None or endpoint.key.namespace != self.key.namespace:
            return False
        owner = endpoint.workload
        if self.owns_pods and owner is not None and owner != Workload(self.kind, self.key.name):
            return False
        return self.selector.matches(endpoint.labels)


class MetricForm(enum.Enum):
    """The forms of an HPA's metrics that a metrics adapter answers; the value is the API's word."""

    PODS = "Pods"
    OBJECT = "Object"
    EXTERNAL = "External"


class TargetType(enum.Enum):
    """What the target value of an HPA's metric is compared with; the value is the API's word."""

    VALUE = "Value"
    AVERAGE_VALUE = "AverageValue"


@dataclass(frozen=True, slots=True)
class MetricTarget:
    """The target value of an HPA's metric: a Kubernetes quantity as it is written."""

    type: TargetType
    quantity: str


@dataclass(frozen=True, slots=True)
class ScaledMetric:
    """One metric an autoscaler asks for; `described` is (kind, name) of the object in the Object form.

    `target` is None where none is written that can be read.
    """

    form: MetricForm
    name: str
    selector: Selector = field(default_factory=Selector)
    described: tuple[str, str] | None = None
    target: MetricTarget | None = None


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """What a `HorizontalPodAutoscaler` wants (its spec): which workload it scales on which metrics of ours.

    `is_whole`: it has no more metrics than are read. `others` are how many metrics it has that other servers answer,
    `replicas` its minimum and maximum, None where they are not written as numbers.
    """

    key: ObjectKey
    target: Workload
    metrics: tuple[ScaledMetric, ...] = ()
    is_whole: bool = True
    others: int = 0
    replicas: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class DiscoveryState:
    """Everything discovery knows at one moment, whole: readers compare it with what they run (`sync`).

    `exporters` are the URLs of the exporters' pages that discovery found, by the keys of their kinds.
    """

    endpoints: tuple[Endpoint, ...] = ()
    pools: tuple[Pool, ...] = ()
    objectives: tuple[Objective, ...] = ()
    rewrites: tuple[Rewrite, ...] = ()
    objects: tuple[DescribedObject, ...] = ()
    autoscalers: tuple[Autoscaler, ...] = ()
    exporters: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]], hash=False)
    rollouts: tuple[Rollout, ...] = ()

    def members(self, pool: Pool) -> tuple[Endpoint, ...]:
        """The endpoints of `pool`, in discovery order."""
        return tuple(endpoint for endpoint in self.endpoints if pool.selects(endpoint))

    def h2c_endpoints(self) -> frozenset[EndpointKey]:
        """The endpoints of pools that speak HTTP/2 in plain text."""
        return frozenset(each.key for pool in self.pools if pool.h2c for each in self.members(pool))

    def of_pool(self, key: ObjectKey) -> "DiscoveryState":
        """This state with no other pool than `key`, and no endpoints but its."""
        pools = tuple(pool for pool in self.pools if pool.key == key)
        endpoints = tuple(each for each in self.endpoints if any(pool.selects(each) for pool in pools))
        return replace(self, pools=pools, endpoints=endpoints)
