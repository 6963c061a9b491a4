"""How a pool is scaled from zero and back in a scenario: as KEDA and the HPA that it makes would, by one metric."""

from dataclasses import replace
from typing import Final

from infscale.demo.scenarios.scenario_plan import ZeroScaling
from infscale.planner.hpa import MetricStatus, TotalMetric, UnavailableMetric, recommend
from infscale.planner.hpa_rules import DEFAULT_SCALE_DOWN, Behavior, Bounds, History
from infscale.planner.scale_target import Workload

METRIC: Final = "outstanding_requests"
"""The published metric that decides: requests in flight and those that wait in the picker."""
ASK_SECONDS: Final = 0.25
"""How often it is asked for. KEDA would be told of the first request for an empty pool, without asking."""


class ZeroScaler:
    """Says how many servers there are to be; owner of what it has wanted before."""

    def __init__(self, scaling: ZeroScaling) -> None:
        self._scaling = scaling
        scale_down = replace(DEFAULT_SCALE_DOWN, stabilization_window_seconds=scaling.calm_seconds)
        self._bounds = Bounds(scaling.most, 1, Behavior(scale_down=scale_down))
        self._history = History()
        self._asked_at = 0.0

    def wanted(self, now: float, outstanding: float | None, servers: int) -> int:
        """How many servers there are to be at second `now`, where there are `servers` that stay.

        `outstanding` is what the adapter answered, None: nothing usable, which changes nothing.
        """
        if outstanding is None:
            return servers
        if outstanding > 0:
            self._asked_at = now
        if not servers:
            # What the HPA wanted before belongs to another life of the pool.
            self._history = History()
            return 1 if outstanding > 0 else 0
        if now - self._asked_at >= self._scaling.calm_seconds:
            return 0
        found = recommend(Workload(servers, ()), [self._status(outstanding)], self._bounds, now, self._history)
        self._history = found.history.scaled(now, servers, found.desired, self._bounds.behavior)
        return found.desired

    def _status(self, outstanding: float) -> MetricStatus:
        milli = round(outstanding * 1000)
        if milli < 0:
            return UnavailableMetric(METRIC, "a number of requests is not negative")
        return TotalMetric(METRIC, (milli,), self._scaling.per_server * 1000)
