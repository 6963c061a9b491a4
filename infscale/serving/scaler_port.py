"""The part that KEDA asks: the external scaler's port."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client.registry import Collector

from infscale.config.settings import KedaSettings
from infscale.endpoint import ObjectKey
from infscale.keda.external_scaler import ExternalScaler, ScalerSettings
from infscale.keda.scaler_counts import ScalerCollector
from infscale.metrics.published.metric_table import MetricTable
from infscale.metrics.snapshot import PoolSettings
from infscale.metrics.store.metrics_store import MetricStore
from infscale.serving.parts import Owning
from infscale.telemetry.debug_documents import DebugPage, at_once

if TYPE_CHECKING:
    from infscale.keda.scaler_server import ScalerServer


class ScalerPort(Owning):
    """KEDA's external scaler over gRPC: it answers from `store`; `judged` gives the settings of a pool."""

    def __init__(
        self,
        settings: KedaSettings,
        store: MetricStore,
        table: MetricTable,
        judged: Callable[[ObjectKey], PoolSettings],
        clock: Callable[[], float],
    ) -> None:
        scaler = ExternalScaler(
            store, table, judged, ScalerSettings(settings.activation_seconds, settings.other_namespaces)
        )
        self._scaler = scaler
        self._clock = clock
        self.server = _server(settings, scaler, store, clock)
        super().__init__(self.server)
        self._collectors = (ScalerCollector(self.server.counts),)

    def pages(self) -> dict[str, DebugPage]:
        """The documents under `/debug/`."""

        def document() -> object:
            return self._scaler.document(self._clock(), datetime.now(UTC), self.server.streams())

        return {"triggers": at_once(document)}

    def collectors(self) -> Sequence[Collector]:
        """What KEDA asked, and was told."""
        return self._collectors


def _server(
    settings: KedaSettings, scaler: ExternalScaler, store: MetricStore, clock: Callable[[], float]
) -> "ScalerServer":
    # Its library takes 10 MiB, which a process without it does without.
    from infscale.keda.scaler_server import ScalerListen, ScalerServer, ScalerTls

    tls = settings.tls
    listen = ScalerListen(
        settings.listen.host,
        settings.listen.port,
        None if tls is None else ScalerTls(tls.certificate, tls.key, tls.client_ca),
        settings.max_streams,
        settings.max_peer_streams,
    )
    return ScalerServer(listen, scaler, store, clock)
