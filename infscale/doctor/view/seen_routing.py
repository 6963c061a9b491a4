"""What leads requests to pods: InferencePools, Services, routes, gateways, and the objects that name pools."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from infscale.discovery.objects import POOL_GROUP
from infscale.endpoint import ObjectKey
from infscale.labels import Selector


@dataclass(frozen=True, slots=True)
class SeenPicker:
    """The reference of a pool to its EPP; `port` None: none is given."""

    kind: str
    name: str
    port: int | None = None
    failure_mode: str = "FailClose"


@dataclass(frozen=True, slots=True)
class SeenPool:
    """An InferencePool of either group, `version` that of the API it was read by; or one that is declared otherwise.

    `requirements` are more conditions on labels, of a declared one.
    """

    key: ObjectKey
    selector: Mapping[str, str] = field(hash=False)
    ports: tuple[int, ...] = ()
    picker: SeenPicker | None = None
    group: str = POOL_GROUP
    version: str = "v1"
    requirements: Selector = field(default_factory=Selector)

    @property
    def labels(self) -> str:
        """What it asks of the labels of pods, as kubectl takes it."""
        return ",".join(
            filter(None, (*(f"{key}={value}" for key, value in self.selector.items()), str(self.requirements)))
        )

    @property
    def resource(self) -> str:
        """As kubectl writes its kind."""
        return f"inferencepools.{self.group}"

    def chooses(self, namespace: str, labels: Mapping[str, str]) -> bool:
        """Whether it selects a pod with these labels."""
        return (
            namespace == self.key.namespace
            and all(labels.get(key) == value for key, value in self.selector.items())
            and self.requirements.matches(labels)
        )


@dataclass(frozen=True, slots=True)
class SeenService:
    """A Service.

    `is_plain`: one of its ports says that it speaks HTTP/2 in the clear. `ready_addresses` is the number of ready
    endpoints in its slices, None where they were not seen.
    """

    key: ObjectKey
    selector: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    ports: tuple[int, ...] = ()
    is_external: bool = False
    is_plain: bool = False
    ready_addresses: int | None = None


@dataclass(frozen=True, slots=True)
class SeenPoolUser:
    """An InferenceObjective, InferenceModelRewrite or InferenceModel and the pool it names."""

    kind: str
    resource: str
    key: ObjectKey
    pool: str
    pool_group: str = POOL_GROUP


@dataclass(frozen=True, slots=True)
class SeenBackend:
    """A backend of a route's rule, `index` in its list; `namespace` is the route's where none is given."""

    index: int
    group: str
    kind: str
    namespace: str
    name: str
    weight: int = 1

    @property
    def is_pool(self) -> bool:
        """Whether it is an InferencePool of whichever group."""
        return self.kind == "InferencePool"


@dataclass(frozen=True, slots=True)
class SeenRoute:
    """An HTTPRoute: the backends of each rule, and the gateways it is attached to.

    `timeouts` are how many seconds requests of each rule may take, None where it says nothing, or that they may take
    any time.
    """

    key: ObjectKey
    rules: tuple[tuple[SeenBackend, ...], ...]
    gateways: tuple[ObjectKey, ...] = ()
    timeouts: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class SeenTlsPolicy:
    """A BackendTLSPolicy and the Services it is for."""

    key: ObjectKey
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SeenText:
    """An object that holds queries: a PrometheusRule, or a ConfigMap with dashboards.

    `names` are the words in it that rules ask for, by the place they are in.
    """

    kind: str
    resource: str
    key: ObjectKey
    names: Mapping[str, tuple[str, ...]] = field(hash=False)
