"""Sources that are exporters: pages of their own, at addresses that are given or of pods, which speak of pods."""

import math
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, get_args

from yarl import URL

from infscale.backoff import Backoff
from infscale.discovery import names
from infscale.documents import values
from infscale.documents.section import NOT_A_KEY, Files, Section
from infscale.documents.strict_document import Field
from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey
from infscale.metrics.sample import SourceSample
from infscale.metrics.source import Source
from infscale.periodic import Clock, FetchError, ScrapeHealth
from infscale.scrape.answer import Room
from infscale.scrape.fetch import PAGE_LIMIT_BYTES, PageClient
from infscale.scrape.page_loops import Observe, PageLoops, Rhythm
from infscale.scrape.reading_time import TOO_LONG, ReadingTime
from infscale.scrape.tls_trust import PageCertificates
from infscale.sources.source_kind import ExporterPods, Scheme, ScrapeWords, SourceSink

if TYPE_CHECKING:
    import random


_SCHEMES: tuple[Scheme, ...] = get_args(Scheme)
_PLAIN: Scheme = "http"

PodOfUid = Callable[[str], ObjectKey | None]
"""The pod of an endpoint by its UID; None: no endpoint is of such a pod."""


class PageReader(Protocol):
    """Reads the pages of one exporter."""

    def read(self, page: bytes, *, whole: bool = True) -> Mapping[ObjectKey, SourceSample]:
        """What a page says of each pod. Raises `FetchError` or `ExpositionError` where it cannot be read."""
        ...


@dataclass(frozen=True, slots=True)
class ExporterTarget:
    """One exporter."""

    url: str
    interval_seconds: float
    timeout_seconds: float

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError("a target's URL starts with http:// or https://")
        if not 0 < self.timeout_seconds < self.interval_seconds < math.inf:
            raise ValueError("a target needs 0 < timeout_seconds < interval_seconds")

    @property
    def name(self) -> str:
        """The address without what may be a secret in it: user, password and query."""
        parts = urllib.parse.urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


@dataclass(frozen=True, slots=True)
class ExporterKind:
    """One kind of exporter, whose values are those of `source`; `reader` makes what reads the pages of a named target,
    given what knows pods by their UIDs.

    `port` is the one that its pods usually have, `values` is what its values are called in the plural.
    """

    key: str
    words: ScrapeWords
    source: Source
    values: str
    port: int
    reader: Callable[[str, PodOfUid], PageReader]

    def default(self) -> "ExporterSettings":
        """See `SourceKind`."""
        return ExporterSettings(self)

    def read(self, section: Field, files: Files) -> "ExporterSettings":
        """See `SourceKind`."""
        given = Section(section, ExporterSettings)
        interval, timeout = values.pace(given, self.default().interval_seconds)
        used = self.source.staleness_seconds
        if used is not None and interval > used / 2:
            given.refuse(
                ["interval_seconds"],
                f"expected at most {used / 2:g}, got {interval:g}: {self.values} are used for {used:g} s",
            )
        no_targets: tuple[str, ...] = ()
        targets = given.get("targets", _urls, no_targets)
        settings = ExporterSettings(
            self,
            targets,
            given.get("pods", self._pods, None),
            interval,
            timeout,
            given.get("verify_tls", Field.boolean, True),
            given.get("ca", files.path, None),
            given.get("certificate", files.path, None),
            given.get("key", files.path, None),
            given.get("server_name", Field.text, None),
            given.get("token_file", files.path, None),
        )
        _check_tls(given, settings)
        return settings

    def _pods(self, field: Field) -> ExporterPods:
        section = Section(field, ExporterPods, required=["namespace", "labels"])
        labels = section.attempt("labels", _some_labels)
        namespace = section.attempt("namespace", names.namespace)
        port = section.get("port", values.port, self.port)
        read_scheme: Callable[[Field], Scheme] = values.one_of(_SCHEMES)
        scheme: Scheme = section.get("scheme", read_scheme, _PLAIN)
        return ExporterPods(namespace.value, labels.value, port, scheme)


@dataclass(frozen=True, slots=True)
class ExporterSettings:
    """The pages of one kind to scrape, by address or found as pods; exporters are slower than model servers.

    The rest is for pages over https: without `verify_tls` any certificate will do, `ca` has the authorities to believe
    instead of the system's, `certificate` and `key` are shown, `server_name` is the name that the exporters'
    certificates have, and the token in `token_file` is sent.
    """

    kind: ExporterKind = field(metadata=NOT_A_KEY)
    targets: tuple[str, ...] = ()
    pods: ExporterPods | None = None
    interval_seconds: float = 10.0
    timeout_seconds: float = 5.0
    verify_tls: bool = True
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None
    token_file: Path | None = None

    @property
    def certificates(self) -> PageCertificates | None:
        """The files for https; None: the system's authorities are believed, and nothing is shown."""
        client = None if self.certificate is None or self.key is None else (self.certificate, self.key)
        found = PageCertificates(self.ca, client, self.server_name, self.token_file)
        return None if found == PageCertificates() else found

    @property
    def is_plain(self) -> bool:
        """Whether any page is fetched over http."""
        return any(url.startswith("http:") for url in self.targets) or (
            self.pods is not None and self.pods.scheme == "http"
        )

    def source(self, sink: SourceSink, clock: Clock, rng: "random.Random") -> "ExporterSource":
        """See `SourceSettings`."""
        return ExporterSource(self, sink, clock, rng)


def _check_tls(given: Section, settings: ExporterSettings) -> None:
    for one, other in (("certificate", "key"), ("key", "certificate")):
        if one in given.given and other not in given.given:
            given.refuse([one], f"goes with {other}: give both")
    if not settings.verify_tls:
        given.refuse(["ca", "server_name"], "without verify_tls any certificate is believed: remove one of the two")
    if given.sound("targets", "pods") and settings.is_plain:
        given.refuse(["token_file"], "a token is sent over https alone, and this section has pages over http")


def _some_labels(field: Field) -> Mapping[str, str]:
    labels = names.labels(field)
    if not labels:
        field.refuse("expected at least one label")
    return labels


def _urls(field: Field) -> tuple[str, ...]:
    return values.different(field, values.url)


class ExporterSource:
    """Scrapes exporters while its context is open and hands samples of known endpoints to the sink.

    An endpoint is recognised by its pod; all ranks of a pod have what is said of it.
    """

    def __init__(self, settings: ExporterSettings, sink: SourceSink, clock: Clock, rng: "random.Random") -> None:
        self._settings = settings
        self._sink = sink
        self._endpoints: Mapping[ObjectKey, tuple[EndpointKey, ...]] = {}
        self._uids: Mapping[str, ObjectKey] = {}
        self._room = Room()
        self._targets: Mapping[str, ExporterTarget] = {}
        backoff = Backoff(base_seconds=1.0, factor=2.0, cap_seconds=30.0)
        self._loops: PageLoops[str, ExporterTarget] = PageLoops(self, Rhythm(backoff, clock, rng))

    async def __aenter__(self) -> Self:
        await self._loops.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._loops.__aexit__(kind, error, traceback)

    def sync(self, state: DiscoveryState) -> None:
        """Scrape the exporters of the settings and of `state`, and record what they say of exactly its endpoints."""
        self._endpoints = _by_pod(state.endpoints)
        self._uids = {each.pod_uid: each.key.pod for each in state.endpoints if each.pod_uid}
        settings = self._settings
        urls = dict.fromkeys((*settings.targets, *state.exporters.get(settings.kind.key, ())))
        self._targets = {url: ExporterTarget(url, settings.interval_seconds, settings.timeout_seconds) for url in urls}
        self._loops.sync(self._targets)

    def health(self) -> dict[str, ScrapeHealth]:
        """How scraping each exporter goes, by the targets' names."""
        return {self._targets[url].name: health for url, health in self._loops.health().items()}

    def client(self, target: ExporterTarget, url: URL) -> PageClient:
        """See `PageVisitor`."""
        del target
        settings = self._settings
        return PageClient(
            url,
            PAGE_LIMIT_BYTES,
            verify_tls=settings.verify_tls,
            certificates=settings.certificates,
            room=self._room,
        )

    def observer(self, target: ExporterTarget, pages: PageClient) -> Observe:
        """See `PageVisitor`."""
        kind, reading = self._settings.kind, ReadingTime(time.thread_time)
        reader = kind.reader(target.name, self._pod_of)

        async def observe(path: str, started: float) -> int:
            if not reading.allows():
                raise FetchError(TOO_LONG)
            page = await pages.get(path)
            with reading:
                samples = reader.read(page.body, whole=page.whole)
            for pod, sample in samples.items():
                for key in self._endpoints.get(pod, ()):
                    self._sink.record_beside(kind.source, key, sample, started)
            return len(page.body)

        return observe

    def _pod_of(self, uid: str) -> ObjectKey | None:
        return self._uids.get(uid)


def _by_pod(endpoints: Iterable[Endpoint]) -> dict[ObjectKey, tuple[EndpointKey, ...]]:
    pods: dict[ObjectKey, tuple[EndpointKey, ...]] = {}
    for endpoint in endpoints:
        pods[endpoint.key.pod] = (*pods.get(endpoint.key.pod, ()), endpoint.key)
    return pods
