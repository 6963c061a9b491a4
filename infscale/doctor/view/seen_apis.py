"""The APIs that answer metrics, rights, and what was answered to an HPA's questions."""

from dataclasses import dataclass

from infscale.endpoint import ObjectKey
from infscale.kube.rights import Right

HPA_ACCOUNT = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
"""The user that the HPA controller asks as."""
RESOURCE_METRICS = "v1beta1.metrics.k8s.io"
"""The API of CPU and memory, which metrics-server answers."""


@dataclass(frozen=True, slots=True)
class SeenApiService:
    """An APIService of a metrics API. `service` None: the API server answers itself.

    `available` is the status of its condition; `ca_problem` says why its CA bundle cannot be one.
    """

    name: str
    service: ObjectKey | None
    available: bool
    reason: str = ""
    message: str = ""
    priority: int = 0
    ca_problem: str | None = None
    has_ca: bool = False
    skips_verification: bool = False
    others_served: bool | None = None
    """infscale's own condition: whether metrics of another adapter are still answered; None: it is not there."""

    @property
    def group(self) -> str:
        """The API group it is for."""
        return self.name.partition(".")[2]

    @property
    def version(self) -> str:
        """The version it is for."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class SeenRight:
    """Whether a user may do what it needs."""

    user: str
    right: Right
    allowed: bool


@dataclass(frozen=True, slots=True)
class AnsweredItem:
    """One value of an answer; `name` is that of the described object, "" in the External form.

    `at` is the time it is said to be of, in Unix seconds, None where it cannot be read.
    """

    name: str
    milli: int
    at: float | None
    window_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered to one metric of an HPA.

    `path` is the whole path that the controller asks, None where it cannot ask; `problem` is why there are no values,
    in the words of the one that refused, and `status` what kind of refusal it was (``NotFound`` …).
    """

    path: str | None
    items: tuple[AnsweredItem, ...] = ()
    problem: str | None = None
    status: str = ""
