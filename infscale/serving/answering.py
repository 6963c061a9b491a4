"""The adapter's part of the composition: what it answers from, and with whose leave."""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from adapter.access.request_access import Access, cluster_access
from adapter.access.reviews import REVIEW_NEEDS
from adapter.access.trust import Trust
from adapter.access.trust_watch import TRUST_NEEDS
from adapter.answering.autoscaler_document import autoscaler_steps
from adapter.answering.autoscalers import MOST_FOUND, Asking, Finding, checked, news
from adapter.answering.forwarding import FORWARDING_NEEDS, Forwarder
from adapter.answering.provider import Provider
from adapter.api.documents import Clock
from adapter.registering.api_services import ApiServices, ownership_needs
from adapter.registering.issuing import Subject
from adapter.registering.registration import Registrar, registration_needs
from adapter.registering.serving_tls import TlsSettings
from adapter.server.adapter_server import AdapterServer, AdapterSettings, Membership
from infscale.config.settings import AdapterSettings as AdapterConfig
from infscale.config.settings import ServeConfig
from infscale.kube.api.client import KubeClient
from infscale.kube.rights import Right
from infscale.metrics.published.metric_table import MetricTable
from infscale.metrics.store.metrics_store import MetricStore
from infscale.process.certificates import CertificatePair
from infscale.process.tasks import running
from infscale.serving.parts import Owning
from infscale.telemetry.debug_documents import DebugPage
from infscale.telemetry.own_metrics import OwnMetrics

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

    def server(self, config: ServeConfig, page: OwnMetrics) -> AdapterServer:
        """The adapter's server, which shows `page`."""
        adapter = config.adapter
        tls = _tls(adapter)
        membership = None if self.client is None else self._membership(self.client, adapter, tls.subject)
        settings = AdapterSettings(adapter.listen.host, adapter.listen.port, tls, adapter.max_in_flight)
        return AdapterServer(settings, self.provider, metrics=self.table.names, page=page, membership=membership)

    def needs(self, config: AdapterConfig) -> frozenset[Right]:
        """What the adapter has to be allowed in the cluster: reviews, registration, and another adapter."""
        if self.client is None:
            return frozenset()
        subject = _tls(config).subject
        found = REVIEW_NEEDS | TRUST_NEEDS | ownership_needs(subject)
        if _is_believed(config):
            found |= registration_needs(subject, issues=config.tls is None)
        return found if config.forward is None else found | FORWARDING_NEEDS

    def _membership(self, client: KubeClient, adapter: AdapterConfig, subject: Subject) -> Membership:
        def grants(use: Callable[[Trust], None], clock: Callable[[], Clock]) -> AbstractAsyncContextManager[Access]:
            return cluster_access(client, use, clock, self.rng)

        def registers(use: Callable[[CertificatePair], Awaitable[None]]) -> Registrar:
            return Registrar(client, subject, use, lambda: datetime.now(UTC), bundle_file=adapter.ca)

        believed = _is_believed(adapter)
        forward = adapter.forward
        api_services = ApiServices(client, subject, lambda: datetime.now(UTC), forwards=forward is not None)
        forwarder = None
        if forward is not None:
            asking = client.within(forward.timeout_seconds, forward.max_bytes)
            forwarder = Forwarder(asking, api_services.is_forwarding)
        return Membership(grants, registers if believed else None, api_services, forwarder)

    @asynccontextmanager
    async def checks(self, store: MetricStore, asking: Asking) -> AsyncGenerator[None]:
        """Say in the log what autoscalers ask for that does not exist, each once, until the block ends."""
        async with running(self._check(store, asking)):
            yield

    async def _check(self, store: MetricStore, asking: Asking) -> None:
        known: frozenset[Finding] = frozenset()
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            now = asyncio.get_running_loop().time()
            found: list[Finding] = []
            for step, finding in enumerate(checked(asking, store.discovery, now)):
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


def _tls(adapter: AdapterConfig) -> TlsSettings:
    tls = TlsSettings(service=adapter.service.name, namespace=adapter.service.namespace)
    return tls if adapter.tls is None else replace(tls, cert_file=adapter.tls.certificate, key_file=adapter.tls.key)


def _is_believed(adapter: AdapterConfig) -> bool:
    """Whether the adapter knows the CA of its certificate, so that APIServices can be told of it."""
    return adapter.tls is None or adapter.ca is not None


class Answering(Owning):
    """The adapter: it answers from `store` to callers with the right to it, and shows `page`."""

    def __init__(
        self,
        config: ServeConfig,
        answers: Answers,
        store: MetricStore,
        page: OwnMetrics,
        clock: Callable[[], float],
    ) -> None:
        self.server = answers.server(config, page)
        self._asking = Asking(answers.provider, self.server.knows, answers.table.names)
        checks = [] if answers.client is None else [answers.checks(store, self._asking)]
        super().__init__(self.server, *checks)
        self._answers = answers
        self._store = store
        self._clock = clock
        self._collectors = (self.server.collector,)
        self._needs = answers.needs(config.adapter)

    def pages(self) -> dict[str, DebugPage]:
        """The documents under `/debug/`: what autoscalers are told, where there are any to be seen."""
        if self._answers.client is None:
            return {}
        return {"autoscalers": lambda: autoscaler_steps(self._asking, self._store.discovery, self._clock())}
