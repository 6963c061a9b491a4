"""The adapter's part of the composition: what it answers from, and with whose leave."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from prometheus_client.registry import Collector

from adapter.access.request_access import Access, cluster_access
from adapter.access.trust import Trust
from adapter.answering.autoscalers import MOST_FOUND, Finding, checked, news
from adapter.answering.forwarding import Forwarder, ForwardSettings
from adapter.answering.provider import Provider
from adapter.api.documents import Clock
from adapter.registering.api_services import ApiServices
from adapter.registering.issuing import Subject
from adapter.registering.registration import Registrar
from adapter.registering.serving_tls import TlsSettings
from adapter.server.adapter_server import AdapterServer, AdapterSettings, Membership
from infscale.config import AdapterSettings as AdapterConfig
from infscale.config import ServeConfig
from infscale.kube.api.client import KubeClient
from infscale.metrics.published.metric_table import MetricTable
from infscale.metrics.store.metrics_store import MetricStore
from infscale.process.certificates import CertificatePair

_CHECK_SECONDS = 15.0
_STEPS_AT_ONCE = 20
_PAUSE_SECONDS = 0.02

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answers:
    """What the adapter answers from, and the cluster that decides on callers; None without one."""

    provider: Provider
    table: MetricTable
    client: KubeClient | None
    rng: random.Random

    def server(self, config: ServeConfig, collectors: Iterable[Collector]) -> AdapterServer:
        """The adapter's server; `collectors` are on its own ``/metrics`` beside its counts."""
        adapter = config.adapter
        tls = TlsSettings(service=adapter.service.name, namespace=adapter.service.namespace)
        if adapter.tls is not None:
            tls = replace(tls, cert_file=adapter.tls.certificate, key_file=adapter.tls.key)
        membership = None if self.client is None else self._membership(self.client, adapter, tls.subject)
        settings = AdapterSettings(adapter.listen.host, adapter.listen.port, tls, adapter.max_in_flight)
        return AdapterServer(
            settings, self.provider, metrics=self.table.names, collectors=collectors, membership=membership
        )

    def _membership(self, client: KubeClient, adapter: AdapterConfig, subject: Subject) -> Membership:
        def grants(use: Callable[[Trust], None], clock: Callable[[], Clock]) -> AbstractAsyncContextManager[Access]:
            return cluster_access(client, use, clock, self.rng)

        def registers(use: Callable[[CertificatePair], Awaitable[None]]) -> Registrar:
            return Registrar(client, subject, use, lambda: datetime.now(UTC), bundle_file=adapter.ca)

        believed = adapter.tls is None or adapter.ca is not None
        forward = adapter.forward
        api_services = ApiServices(client, subject, lambda: datetime.now(UTC), forwards=forward is not None)
        forwarder = None
        if forward is not None:
            settings = ForwardSettings(forward.timeout_seconds, forward.max_bytes)
            asking = client.within(settings.timeout_seconds, settings.max_bytes)
            forwarder = Forwarder(asking, settings, api_services.is_forwarding)
        return Membership(grants, registers if believed else None, api_services, forwarder)

    @asynccontextmanager
    async def checks(self, store: MetricStore, knows: Callable[[str], bool]) -> AsyncGenerator[None, None]:
        """Say in the log what autoscalers ask for that does not exist, each once, until the block ends.

        `knows` says which custom metrics another adapter has.
        """
        tasks = asyncio.TaskGroup()
        await tasks.__aenter__()
        checking = tasks.create_task(self._check(store, knows))
        try:
            yield
        finally:
            checking.cancel()
            # Left without the block's own error, which the group would wrap in an ExceptionGroup.
            await tasks.__aexit__(None, None, None)

    async def _check(self, store: MetricStore, knows: Callable[[str], bool]) -> None:
        known: frozenset[Finding] = frozenset()
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            now = asyncio.get_running_loop().time()
            found: list[Finding] = []
            for step, finding in enumerate(checked(self.provider, store.discovery, now, knows)):
                if finding is not None and len(found) < MOST_FOUND:
                    found.append(finding)
                # Each is a part of a millisecond of work: requests have their turns, and most of the time, in between.
                await asyncio.sleep(0 if step % _STEPS_AT_ONCE else _PAUSE_SECONDS)
            said = news(found, known)
            for each in said.told:
                _LOG.warning("HorizontalPodAutoscaler %s, metric %s: %s", each.autoscaler, each.metric, each.problem)
            if said.more:
                _LOG.warning("%d more metrics that HorizontalPodAutoscalers ask for cannot be answered", said.more)
            known = frozenset(found)
