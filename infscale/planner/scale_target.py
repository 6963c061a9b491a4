"""What the HPA controller sees of a scale target: replicas, pods, their values, and the controller's own flags."""

import enum
from dataclasses import dataclass


class PodPhase(enum.Enum):
    """`status.phase` of a pod."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class PodState:
    """What the controller knows of one pod the scale target selects.

    `ready` is the Ready condition, None where the pod has none; `ready_changed_at` and `started_at` are seconds on the
    caller's clock, `started_at` None before the kubelet took the pod. `request_milli` is the resource request of the
    pod (or of the one container looked at), None where a container has none.
    """

    name: str
    phase: PodPhase = PodPhase.RUNNING
    deleting: bool = False
    ready: bool | None = True
    ready_changed_at: float = 0.0
    started_at: float | None = 0.0
    request_milli: int | None = None


@dataclass(frozen=True, slots=True)
class PodValue:
    """One pod's item in a metrics answer: the value, when it was observed (seconds), over which window (seconds)."""

    milli: int
    at: float = 0.0
    window_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Workload:
    """The scale target at one sync.

    `replicas` is ``spec.replicas``, `status_replicas` is ``status.replicas`` (None: the same). `pods` are all pods its
    selector matches.
    """

    replicas: int
    pods: tuple[PodState, ...] = ()
    status_replicas: int | None = None

    @property
    def observed_replicas(self) -> int:
        """Replicas that exist, which `AverageValue` targets of Object and External metrics divide by."""
        return self.replicas if self.status_replicas is None else self.status_replicas


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a ratio may be from 1 before anything changes, per direction (KEP-4951)."""

    down: float = 0.1
    up: float = 0.1

    def contains(self, ratio: float) -> bool:
        """Whether `ratio` is too close to 1 to act on."""
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """Flags of kube-controller-manager that the arithmetic depends on, with its defaults.

    `cpu_initialization_seconds` and `initial_readiness_delay_seconds` matter for CPU only;
    `downscale_stabilization_seconds` is the scale-down window where the HPA's `behavior` names none.
    """

    tolerance: Tolerance = Tolerance()
    cpu_initialization_seconds: float = 300.0
    initial_readiness_delay_seconds: float = 30.0
    downscale_stabilization_seconds: float = 300.0
