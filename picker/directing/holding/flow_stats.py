"""What is counted of the requests that wait for one pool: by band, and by tenant as far as these are few."""

from dataclasses import dataclass, field
from typing import Final

from infscale.telemetry.histogram import Histogram
from picker.flow.waiting import Waiting
from picker.request import Reason

WAIT_BOUNDS: Final[tuple[float, ...]] = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 15.0, 30.0, 60.0, 120.0, 300.0),
)
"""Seconds."""
MOST_SHOWN: Final = 64
"""Tenants of all bands that are counted on their own; those that come later are one."""
OTHERS: Final = "other"
"""The tenant of all that came when as many as may be were known already."""

UNNAMED: Final = "unnamed"
"""The tenant of all whose requests do not say whose they are: Prometheus knows no label without a value."""


@dataclass(slots=True)
class TenantStats:
    """Counts since start of one tenant in one band.

    `let_go` and `refused` are requests, `waited_seconds` the sum of the waits of those let go, `gpu_seconds` what those
    that have ended are estimated to have taken.
    """

    let_go: int = 0
    refused: int = 0
    waited_seconds: float = 0.0
    gpu_seconds: float = 0.0


@dataclass(slots=True)
class FlowStats:
    """Counts since start, by band: `waits` of those that were let go, and refusals by their reason."""

    waits: dict[int, Histogram] = field(default_factory=dict[int, Histogram])
    refusals: dict[tuple[int, Reason], int] = field(default_factory=dict[tuple[int, Reason], int])
    tenants: dict[tuple[int, str], TenantStats] = field(default_factory=dict[tuple[int, str], TenantStats])
    given_up: int = 0

    def came(self, waiting: Waiting) -> None:
        """A request waits; its tenant is shown from now on."""
        self._tenant(waiting)

    def waited(self, waiting: Waiting, seconds: float) -> None:
        """A request was let go after so long; 0: it did not have to wait."""
        histogram = self.waits.get(waiting.priority)
        if histogram is None:
            histogram = self.waits[waiting.priority] = Histogram(WAIT_BOUNDS)
        histogram.observe(seconds)
        tenant = self._tenant(waiting)
        tenant.let_go += 1
        tenant.waited_seconds += seconds

    def refused(self, waiting: Waiting, reason: Reason) -> None:
        """A request was refused."""
        key = waiting.priority, reason
        self.refusals[key] = self.refusals.get(key, 0) + 1
        self._tenant(waiting).refused += 1

    def took(self, waiting: Waiting, gpu_seconds: float) -> None:
        """A request that was let go has ended, and is estimated to have taken so much."""
        self._tenant(waiting).gpu_seconds += gpu_seconds

    def shown(self, priority: int, flow: str) -> tuple[int, str]:
        """The band and the tenant under which a flow is counted."""
        key = priority, flow or UNNAMED
        return key if key in self.tenants or len(self.tenants) < MOST_SHOWN else (priority, OTHERS)

    def _tenant(self, waiting: Waiting) -> TenantStats:
        key = self.shown(waiting.priority, waiting.flow)
        tenant = self.tenants.get(key)
        if tenant is None:
            tenant = self.tenants[key] = TenantStats()
        return tenant
