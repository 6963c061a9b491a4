"""What scales workloads: HorizontalPodAutoscalers, ScaledObjects of KEDA, and others that write replicas."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from infscale.endpoint import ObjectKey
from infscale.planner.hpa_rules import Behavior


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """A reference to an object of the same namespace; `api_version` as written, "" where it is left out."""

    api_version: str
    kind: str
    name: str

    @property
    def group(self) -> str:
        """The API group, "" for core kinds."""
        group, slash, _ = self.api_version.rpartition("/")
        return group if slash else ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class SeenMetric:
    """One of an HPA's metrics, `index` in its list.

    `form` is the API's word (``Pods`` …). `selector` is in the string form that requests carry, `labels` its
    ``matchLabels``. `target_type` is ``Value``, ``AverageValue`` or ``Utilization``; `target_milli` is None where the
    target is a percentage (`target_percent`) or cannot be read; `target_text` is the quantity as written.
    """

    index: int
    form: str
    name: str
    target_type: str
    target_milli: int | None = None
    target_percent: int | None = None
    target_text: str = ""
    selector: str = ""
    labels: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    described: ObjectRef | None = None
    container: str = ""

    @property
    def field(self) -> str:
        """Where it is in the HPA."""
        return f"spec.metrics[{self.index}]"

    @property
    def source(self) -> str:
        """The key that holds the metric: ``pods``, ``containerResource`` …"""
        return self.form[:1].lower() + self.form[1:]


@dataclass(frozen=True, slots=True)
class SeenCondition:
    """A condition of a status."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class SeenAutoscaler:
    """A HorizontalPodAutoscaler. `status_desired` is what it wanted at its last sync, None before the first.

    `owner` is the kind and name of the controller that made it. `behavior_problem` says why its behaviour cannot be
    read. `created` sorts by age.
    """

    key: ObjectKey
    target: ObjectRef
    min_replicas: int
    max_replicas: int
    metrics: tuple[SeenMetric, ...]
    behavior: Behavior | None = None
    conditions: tuple[SeenCondition, ...] = ()
    status_desired: int | None = None
    owner: tuple[str, str] | None = None
    created: str = ""

    def condition(self, kind: str) -> SeenCondition | None:
        """The condition of that type."""
        return next((each for each in self.conditions if each.type == kind), None)


@dataclass(frozen=True, slots=True)
class SeenTrigger:
    """A trigger of a ScaledObject. `metadata` has only the keys that rules read: others may be secret.

    `metric_type` is what the HPA makes of its value: with ``AverageValue`` it divides it by the replicas.
    """

    index: int
    type: str
    metadata: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    metric_type: str = "AverageValue"


@dataclass(frozen=True, slots=True)
class SeenScaledObject:
    """A ScaledObject of KEDA; `hpa_name` is that of the HPA it makes.

    `is_composed`: a formula over its triggers takes the place of their metrics, with a type and target of its own.
    """

    key: ObjectKey
    target: ObjectRef
    min_replicas: int
    max_replicas: int
    triggers: tuple[SeenTrigger, ...]
    hpa_name: str
    has_fallback: bool = False
    created: str = ""
    is_composed: bool = False


@dataclass(frozen=True, slots=True)
class SeenOther:
    """Another object that sizes a workload, such as a VerticalPodAutoscaler. `resource` is kubectl's word for it.

    `mode` is its own word for whether it acts.
    """

    resource: str
    kind: str
    key: ObjectKey
    target: ObjectRef
    mode: str = ""
