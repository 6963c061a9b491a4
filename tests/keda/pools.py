"""A store with pools that a test fills, on a clock that the test sets, and the scaler on it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Phase, Pool
from infscale.keda.external_scaler import ExternalScaler, ScalerSettings
from infscale.keda.trigger_metadata import Asked
from infscale.metrics.published.metric_table import FormulaSettings, MetricTable
from infscale.metrics.sample import ModelLoad
from infscale.metrics.snapshot import PoolSettings
from infscale.metrics.store.metrics_store import MetricStore
from tests.fakes.samples import engine_sample

CHAT = ObjectKey("llm", "chat")
MODEL = "meta-llama/Llama-3.1-8B"
WINDOW = 30.0
STALE = 2.0


def server(number: int, pool: str = "chat", phase: Phase = Phase.READY, rank: int = 0) -> Endpoint:
    key = EndpointKey("llm", f"{pool}-{number}", rank)
    return Endpoint(key, f"10.0.{len(pool)}.{number + 1}", 8000 + rank, {"pool": pool}, phase)


@dataclass
class Pools:
    """Pools `names` of namespace llm, and what is known of their endpoints."""

    endpoints: Sequence[Endpoint] = ()
    names: Sequence[str] = ("chat",)
    formulas: Sequence[FormulaSettings] = ()
    settings: ScalerSettings = field(default_factory=ScalerSettings)
    judged: dict[ObjectKey, PoolSettings] = field(default_factory=dict[ObjectKey, PoolSettings])
    now: float = 1000.0

    def __post_init__(self) -> None:
        self.store = MetricStore("s", default_pool=PoolSettings(STALE, WINDOW))
        self.scaler = ExternalScaler(
            self.store,
            MetricTable.of(self.formulas),
            lambda pool: self.judged.get(pool, PoolSettings()),
            self.settings,
        )
        self.discover(*self.endpoints)

    def clock(self) -> float:
        return self.now

    def discover(self, *endpoints: Endpoint) -> None:
        self.endpoints = endpoints
        pools = tuple(Pool(ObjectKey("llm", name), {"pool": name}) for name in self.names)
        self.store.sync(DiscoveryState(endpoints, pools))

    def scrape(
        self,
        waiting: float = 0.0,
        running: float = 0.0,
        kv: float | None = 0.0,
        at: Endpoint | None = None,
        **more: Any,
    ) -> None:
        """Every ready endpoint (or the one `at`) says so now."""
        for each in self.endpoints if at is None else (at,):
            if each.phase is Phase.READY:
                load = {MODEL: ModelLoad(waiting, running)}
                self.store.record_scrape(each.key, engine_sample(waiting, running, kv, load, **more), self.now)

    def ask(self, pool: str = "chat") -> None:
        """A request that finds no ready endpoint."""
        self.store.turn_away(ObjectKey("llm", pool), self.now)

    def value(self, metadata: Mapping[str, str]) -> float:
        return self.scaler.value(self.scaler.trigger(asked(metadata)), self.now)

    def active(self, metadata: Mapping[str, str]) -> bool:
        return self.scaler.active(self.scaler.trigger(asked(metadata)), self.now)

    def target(self, metadata: Mapping[str, str]) -> float:
        return self.scaler.target(self.scaler.trigger(asked(metadata)))


def asked(metadata: Mapping[str, str], scaled_object: ObjectKey = CHAT) -> Asked:
    return Asked(scaled_object, metadata)
