"""Replicas from zero and back in virtual time, by what the adapter answers from the store."""

from adapter.answering.store_provider import StoreProvider
from adapter.api.paths import ExternalRequest
from adapter.errors import ApiError
from infscale.demo.scenarios.scaler import ASK_SECONDS, METRIC, ZeroScaler
from infscale.demo.scenarios.scenario_plan import ZeroScaling
from infscale.metrics.store.metrics_store import MetricStore
from infscale.simulate.run_result import ScalingStep
from infscale.simulate.world.fleet import Fleet
from infscale.simulate.world.virtual_clock import VirtualClock


class VirtualZeroScaler:
    """The scaler of one run; owner of the number of replicas that it wants."""

    def __init__(self, scaling: ZeroScaling, fleet: Fleet, store: MetricStore, clock: VirtualClock) -> None:
        self.steps: list[ScalingStep] = []
        self._scaler = ZeroScaler(scaling)
        self._start_seconds = scaling.start_seconds
        self._fleet = fleet
        self._clock = clock
        self._provider = StoreProvider(store)
        self._asked = ExternalRequest(fleet.scenario.pool.namespace, METRIC)

    def start(self) -> None:
        """Ask from now on."""
        replicas = len(self._fleet.replicas)
        self.steps.append(ScalingStep(max(0.0, self._clock.now), replicas, replicas, "at the beginning"))
        self._ask(None)

    def _ask(self, nothing: None) -> None:
        now, staying = self._clock.now, self._fleet.replicas
        outstanding = self._outstanding(now)
        wanted = self._scaler.wanted(now, outstanding, len(staying))
        if wanted != len(staying):
            words = f"{METRIC} is {outstanding:g}" if outstanding is not None else f"{METRIC} is unknown"
            self.steps.append(ScalingStep(now, len(staying), wanted, words))
        for _ in range(wanted - len(staying)):
            self._fleet.add(self._fleet.scenario.servers[0], self._start_seconds)
        for each in staying[wanted:]:
            self._fleet.drain(each, self._fleet.scenario.patience_seconds)
        self._clock.after(ASK_SECONDS, self._ask, nothing)

    def _outstanding(self, now: float) -> float | None:
        try:
            found = self._provider.external(self._asked, now)
        except ApiError:
            return None
        return sum([each.reading.value for each in found.items], 0.0)
