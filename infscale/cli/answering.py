"""The adapter's part of the composition: what it answers from, and with whose leave."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from prometheus_client.registry import Collector

from adapter.access import Access, cluster_access
from adapter.autoscalers import Finding, findings
from adapter.documents import Clock
from adapter.issuing import Subject
from adapter.provider import Provider
from adapter.registration import Registrar
from adapter.server import AdapterServer, AdapterSettings, Membership
from adapter.tls import TlsSettings
from adapter.trust import Trust
from infscale.certificates import CertificatePair
from infscale.config import AdapterSettings as AdapterConfig
from infscale.config import ServeConfig
from infscale.kube.client import KubeClient
from infscale.metrics.store import MetricStore
from infscale.metrics.table import MetricTable

_CHECK_SECONDS = 15.0

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answers:
    """What the adapter answers from, and the cluster that decides who may ask; None without one."""

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
        return Membership(grants, registers if believed else None)

    @asynccontextmanager
    async def checks(self, store: MetricStore) -> AsyncGenerator[None, None]:
        """Say in the log what autoscalers ask for that does not exist, each once, until the block ends."""
        tasks = asyncio.TaskGroup()
        await tasks.__aenter__()
        checking = tasks.create_task(self._check(store))
        try:
            yield
        finally:
            checking.cancel()
            # Left without the block's own error, which the group would wrap in an ExceptionGroup.
            await tasks.__aexit__(None, None, None)

    async def _check(self, store: MetricStore) -> None:
        known: frozenset[Finding] = frozenset()
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            found = frozenset(findings(self.provider, store.discovery, asyncio.get_running_loop().time()))
            for each in sorted(found - known, key=str):
                _LOG.warning("HorizontalPodAutoscaler %s, metric %s: %s", each.autoscaler, each.metric, each.problem)
            known = found
