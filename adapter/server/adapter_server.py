"""The adapter as a running server: one listening socket with TLS, owned by an ``async with``."""

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from adapter.access.request_access import Access
from adapter.access.trust import Trust
from adapter.answering.forwarding import Forwarder, following
from adapter.answering.provider import Provider
from adapter.answering.responder import Responder
from adapter.api.documents import Clock, constant_documents
from adapter.api.foreign import ForeignMetric
from adapter.registering.api_services import ApiServices
from adapter.registering.registration import Registrar
from adapter.registering.serving_tls import ServingCertificate, TlsSettings
from adapter.server.app import AdapterApp
from adapter.server.connections import ConnectionLimits
from adapter.server.http_connection import StatusServer
from adapter.server.listener import Listener
from adapter.server.stats import AdapterStats
from adapter.server.telemetry import AdapterCollector
from infscale import __version__
from infscale.endpoint import authority, is_loopback
from infscale.errors import StartError
from infscale.metrics.published.catalogue import BY_NAME
from infscale.process.certificates import CertificatePair
from infscale.process.listening import listening
from infscale.process.tasks import running
from infscale.telemetry.own_metrics import OwnMetrics

# How much each connection can have the loop take in at a time, of all that are ready.
_RECEIVED_BYTES = 32_768
_SHUTDOWN_SECONDS = 5.0
_LIST_SECONDS = 30.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AdapterSettings:
    """Where the adapter listens (port 0: any free one), with which certificate, and how much it takes at once."""

    host: str = "127.0.0.1"
    port: int = 6443
    tls: TlsSettings = field(default_factory=TlsSettings)
    max_in_flight: int = 400
    connections: ConnectionLimits = field(default_factory=ConnectionLimits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port {self.port} is outside 0–65535")
        if self.max_in_flight < 1:
            raise ValueError("the adapter takes at least one request at once")


def system_clock() -> Clock:
    """The machine's clocks at this moment."""
    return Clock(time.monotonic(), datetime.now(UTC))


Grants = Callable[[Callable[[Trust], None], Callable[[], Clock]], AbstractAsyncContextManager[Access]]
"""Access on which a cluster decides, for as long as the block runs; what is called first gets every new trust."""

Registers = Callable[[Callable[[CertificatePair], Awaitable[None]]], Registrar]
"""The registrar that gives what is called its serving certificates."""


@dataclass(frozen=True, slots=True)
class Membership:
    """What a server has from its cluster: the rights of users and, where it has no certificate, belief in its own.

    `api_services` follows which others answer there, and the `forwarder` asks that.
    """

    grants: Grants
    registers: Registers | None = None
    api_services: ApiServices | None = None
    forwarder: Forwarder | None = None


class AdapterServer:
    """Serves the metrics APIs while its ``async with`` block runs.

    `metrics` are the names that `provider` answers. ``/metrics`` shows `page`; the adapter's own
    counts where there is none.

    Without a `membership` no cluster decides on callers, so it listens on loopback only. Entering raises
    `StartError` when it may not listen there, the port is taken or the certificate does not work.
    """

    def __init__(
        self,
        settings: AdapterSettings,
        provider: Provider,
        clock: Callable[[], Clock] = system_clock,
        metrics: Iterable[str] = tuple(BY_NAME),
        page: OwnMetrics | None = None,
        membership: Membership | None = None,
    ) -> None:
        self._settings = settings
        self._membership = membership
        self._clock = clock
        self._certificate = ServingCertificate(replace(settings.tls, ask_clients=membership is not None))
        self._stack = AsyncExitStack()
        self._port: int | None = None
        self._metrics = tuple(metrics)
        self._forwarder = None if membership is None else membership.forwarder
        self.stats = AdapterStats()
        api_services = None if membership is None else membership.api_services
        self.collector = AdapterCollector(self.stats, api_services, self._forwarder)
        """What the adapter counts, for the process' metrics."""
        self._page = OwnMetrics((self.collector,)) if page is None else page
        documents = constant_documents(self._metrics, __version__)
        self._responder = Responder(provider, documents, self._forwarder, self._metrics)

    @property
    def port(self) -> int:
        """The port it listens on."""
        if self._port is None:
            raise RuntimeError("the adapter listens inside its async with block only")
        return self._port

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"https://{authority(self._settings.host, self.port)}"

    @property
    def ca_pem(self) -> bytes | None:
        """The CA that signed the certificate it made; None when it was given one."""
        return self._certificate.ca_pem

    def knows(self, metric: str) -> bool:
        """Whether another adapter, which is asked for what is not known here, lists a custom metric of this name."""
        return self._forwarder is not None and self._forwarder.knows(metric)

    async def __aenter__(self) -> Self:
        if self._membership is None:
            _check_loopback(self._settings.host)
        async with AsyncExitStack() as stack:
            await self._certificate.load()
            await stack.enter_async_context(running(self._certificate.follow()))
            access = await self._joined(stack)
            app = AdapterApp(self._responder, self._page, self._clock, self.stats, self._settings.max_in_flight, access)
            listener = await self._listen(app.server(self._settings.connections))
            stack.push_async_callback(_stop, listener.server)
            await stack.enter_async_context(listener.accepting())
            self._stack = stack.pop_all()
        alone = "loopback only: without Kubernetes its callers are not checked"
        who = "the cluster decides who may ask" if self._membership else alone
        _log.info("the adapter answers on %s, %s", self.url, who)
        return self

    async def _joined(self, stack: AsyncExitStack) -> Access | None:
        """Access as the cluster grants it, once the cluster can verify the certificate; None without a cluster."""
        if self._membership is None:
            return None
        if self._membership.registers is not None:
            registrar = self._membership.registers(self._certificate.use)
            # Before listening: a certificate that is not believed yet fails the probes of an API that was available.
            await registrar.try_round()
            await stack.enter_async_context(running(registrar.run()))

        await self._beside(self._membership, stack)

        def use(trust: Trust) -> None:
            self._certificate.trust(trust.ca_pem)

        return await stack.enter_async_context(self._membership.grants(use, self._clock))

    async def _beside(self, membership: Membership, stack: AsyncExitStack) -> None:
        """Follow the other adapters of the cluster."""
        if membership.api_services is not None:
            await membership.api_services.try_round()
            await stack.enter_async_context(running(membership.api_services.run()))
        if membership.forwarder is not None:
            listing = following(membership.forwarder, _LIST_SECONDS, self._list)
            await stack.enter_async_context(running(listing))

    def _list(self, foreign: Collection[ForeignMetric]) -> None:
        """Have another adapter's metrics in the documents."""
        self._responder.documents = constant_documents(self._metrics, __version__, foreign)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._port = None
        return await self._stack.__aexit__(kind, error, trace)

    async def _listen(self, server: StatusServer) -> Listener:
        host, port = self._settings.host, self._settings.port
        sockets = await listening("the adapter", host, port, "adapter.listen", _RECEIVED_BYTES)
        self._port = int(sockets[0].getsockname()[1])
        return Listener(sockets, self._certificate.context, server)


async def _stop(server: StatusServer) -> None:
    """Let requests in progress end, then close every connection."""
    server.pre_shutdown()
    await server.shutdown(_SHUTDOWN_SECONDS)
    # Those whose client does not read are not waited for.
    server.limited.end()


def _check_loopback(host: str) -> None:
    with suppress(ValueError):
        if is_loopback(host):
            return
    raise StartError(
        f"adapter: {host} is no loopback address; without Kubernetes its callers are not checked, so it listens on "
        "loopback only: set the address to 127.0.0.1 or ::1"
    )
