"""The part that gateways ask: the picker's port."""

from collections.abc import Callable

from infscale.config.settings import PickerSettings, ServeConfig
from infscale.metrics.store.metrics_store import MetricStore
from infscale.process.tls_files import TlsFiles
from infscale.serving.deciding import Deciding
from infscale.serving.parts import Owning
from picker.directing.candidates import takes_requests
from picker.telemetry.counts import PortCollector
from picker.transport.interface import NewExchange, TransportSettings
from picker.transport.server.http2 import Http2Transport
from picker.transport.transport import Transport


class ExtProcPort(Owning):
    """ext_proc for gateways, with the health of the gRPC kind, and what tells other pickers how the pools do."""

    def __init__(self, config: ServeConfig, deciding: Deciding, store: MetricStore, clock: Callable[[], float]) -> None:
        self.transport = _transport(config.picker, deciding.new_exchange, store, clock)
        super().__init__(self.transport)
        self._collectors = (
            deciding.observing.averages(),
            PortCollector(self.transport.budget, self.transport.counts),
        )


def _transport(
    picker: PickerSettings, new_exchange: NewExchange, store: MetricStore, clock: Callable[[], float]
) -> Transport:
    tls = picker.tls
    settings = TransportSettings(
        address=picker.listen.host,
        port=picker.listen.port,
        health_address=picker.health_listen.host if picker.health_listen else None,
        health_port=picker.health_listen.port if picker.health_listen else None,
        tls=TlsFiles(tls.certificate, tls.key, tls.client_ca, tls.reload, tls.min_version) if tls else None,
        notice_seconds=picker.drain_notice_seconds,
        drain_seconds=picker.drain_timeout_seconds,
        any_health_service=picker.any_health_service,
        max_body_bytes=picker.max_body_bytes,
        max_buffered_bytes=picker.max_buffered_bytes,
        body_timeout_seconds=picker.body_timeout_seconds,
        max_connections=picker.max_connections,
        max_peer_connections=picker.max_peer_connections,
    )

    def ready() -> bool:
        if picker.ready_without_endpoints:
            return bool(store.pools())
        now = clock()
        return any(takes_requests(snapshot, now, picker.unknown_load) for snapshot in store.snapshots())

    if picker.transport == "grpc_aio":
        # Its library takes 10 MiB, which a picker without it does without.
        from picker.transport.grpcio_server.grpc_aio import GrpcTransport

        return GrpcTransport(settings, new_exchange, clock, ready)
    return Http2Transport(settings, new_exchange, clock, ready)
