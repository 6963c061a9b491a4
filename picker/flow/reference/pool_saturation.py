"""How full a pool is, as the reference's detectors say it: by what engines report, or by what is in flight.

Which detector, and its thresholds, are what the pool is judged by anyway (`PoolSettings.saturation`), so that
"saturated" means one thing. Its known weakness is kept: an endpoint whose load is unknown counts as full, and a pool of
such endpoints holds everything back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from infscale.endpoint import Endpoint
from infscale.metrics.sample import FloatArray
from infscale.metrics.saturation import SaturationKind
from infscale.metrics.snapshot import BoolArray, PoolSnapshot, count_of
from picker.scheduling.by_endpoints import ByEndpoints
from picker.scheduling.filters.eligibility import ROLE_LABEL

_BOTH: Final = frozenset({"prefill-decode", "encode-prefill-decode", "both"})
_ROLES: Final[Mapping[str, frozenset[str]]] = {
    "prefill": _BOTH | {"prefill", "encode-prefill"},
    # An endpoint without a role decodes.
    "decode": _BOTH | {"decode", ""},
}


@dataclass(frozen=True, slots=True)
class Stages:
    """Saturation of the endpoints that prefill and of those that decode; None: there are none.

    One that does both counts in both; those that only encode, and those of unknown roles, in neither. `stale` is how
    many of the pool's count as full because their load is unknown.
    """

    prefill: float | None
    decode: float | None
    stale: int

    @property
    def effective(self) -> float:
        """The fuller stage's; a pool without endpoints is full."""
        known = [each for each in (self.prefill, self.decode) if each is not None]
        return max(known, default=1.0)


class PoolSaturation:
    """Measures pools; see `Saturation`. Remembers roles of endpoints alone."""

    def __init__(self) -> None:
        self._stages: ByEndpoints[tuple[BoolArray, BoolArray]] = ByEndpoints(_members)

    def of(self, snapshot: PoolSnapshot, now: float) -> float:
        """The saturation that counts: that of the fuller stage."""
        return self.stages(snapshot, now).effective

    def stages(self, snapshot: PoolSnapshot, now: float) -> Stages:
        """The saturation of each stage: the mean over its endpoints that are ready and awake."""
        columns, settings = snapshot.columns, snapshot.state.settings.saturation
        ratios = settings.ratios(
            columns.gauges.waiting,
            columns.gauges.kv_utilization,
            snapshot.in_flight_requests,
            snapshot.in_flight_tokens,
        )
        usable = columns.ready & ~columns.asleep
        unknown = np.zeros(len(snapshot), dtype=np.bool_)
        if settings.kind is SaturationKind.UTILIZATION:
            unknown = np.isnan(ratios) | ~snapshot.fresh(now)
            ratios[unknown] = 1.0
        prefill, decode = self._stages.of(snapshot)
        stale = count_of(unknown & usable)
        return Stages(_mean(ratios[prefill & usable]), _mean(ratios[decode & usable]), stale)


def _members(endpoints: tuple[Endpoint, ...]) -> tuple[BoolArray, BoolArray]:
    roles = [endpoint.labels.get(ROLE_LABEL, "") for endpoint in endpoints]
    prefill, decode = ([role in members for role in roles] for members in _ROLES.values())
    return np.array(prefill, dtype=np.bool_), np.array(decode, dtype=np.bool_)


def _mean(ratios: FloatArray) -> float | None:
    return float(ratios.mean()) if len(ratios) else None
