"""Which models servers list at ``/v1/models``: also those that their metrics pages do not name.

A page of metrics names one model of a server with several names, and LoRA adapters only while they are used. The list
changes rarely and is asked for rarely; each server has failures of its own.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import orjson
from yarl import URL

from infscale.backoff import Backoff
from infscale.endpoint import Endpoint, EndpointKey
from infscale.metrics.pages.bounds import MAX_LORA_NAMES, MAX_NAME_LENGTH
from infscale.metrics.published.catalogue import MODEL_LIST
from infscale.metrics.sample import ListedModels
from infscale.metrics.snapshot import NO_NAMES
from infscale.metrics.source import Source
from infscale.periodic import Clock, Failing, FetchError, ScrapeHealth, Unreachable, Withheld
from infscale.scrape.fetch import PageClient
from infscale.scrape.page_loops import Observe, PageLoops, Rhythm
from infscale.scrape.tls_trust import PageCertificates

if TYPE_CHECKING:
    import random

PATH: Final = "/v1/models"
LIST_LIMIT_BYTES: Final = 1 << 20
MOST_NAMES: Final = 10_000
LONGEST_NAME: Final = 1_024
# A list that could not be read anew for so many intervals says nothing any more.
_INTERVALS_OF_USE: Final = 3
_FIRST_WITHIN_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class ListSettings:
    """How lists are read; `scheme`, `verify_tls` and `certificates` as for metrics pages."""

    interval_seconds: float = 10.0
    timeout_seconds: float = 2.0
    scheme: str = "http"
    verify_tls: bool = True
    certificates: PageCertificates | None = None
    backoff: Backoff = field(default_factory=lambda: Backoff(base_seconds=1.0, factor=2.0, cap_seconds=10.0))


class ListSink(Protocol):
    """Takes what lists say; called from the event loop, must not block."""

    def record_beside(self, source: Source, key: EndpointKey, sample: ListedModels, at: float) -> None:
        """Take the list of the endpoint `key` as it was at the monotonic second `at`."""
        ...


@dataclass(frozen=True, slots=True)
class _Server:
    """Where one endpoint's list is, and whether it speaks HTTP/2 in plain text there."""

    key: EndpointKey
    url: str
    h2c: bool
    interval_seconds: float
    timeout_seconds: float

    @property
    def name(self) -> str:
        """See `PageTarget`."""
        return f"models of {self.key} at {self.url}"


@dataclass(slots=True)
class _Known:
    """What one server said last, and when, None: never; with `none` it answered without a list.

    `kept` are those of the names that the store has.
    """

    server: _Server
    names: frozenset[str] = NO_NAMES
    kept: frozenset[str] = NO_NAMES
    at: float | None = None
    none: bool = False


class ModelLists:
    """Reads the lists of the endpoints of the last `sync` while its context is open, and tells `sink` what they say.

    The sink has at most 256 names of an endpoint, and is told when a list has grown too old.
    """

    def __init__(
        self,
        clock: Clock,
        rng: "random.Random",
        settings: ListSettings | None = None,
        sink: ListSink | None = None,
    ) -> None:
        self._clock = clock
        self._sink = sink
        self._settings = settings or ListSettings()
        self._known: dict[EndpointKey, _Known] = {}
        rhythm = Rhythm(self._settings.backoff, clock, rng, _FIRST_WITHIN_SECONDS)
        self._loops: PageLoops[EndpointKey, _Server] = PageLoops(self, rhythm)

    async def __aenter__(self) -> "ModelLists":
        await self._loops.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._loops.__aexit__(*error)

    def sync(self, endpoints: Iterable[Endpoint], h2c: Container[EndpointKey] = ()) -> None:
        """Read the lists of exactly these endpoints, of `h2c` over HTTP/2; one at another address is another server."""
        settings = self._settings
        known: dict[EndpointKey, _Known] = {}
        for each in endpoints:
            url = f"{settings.scheme}://{each.authority}{PATH}"
            plain = settings.scheme == "http" and each.key in h2c
            server = _Server(each.key, url, plain, settings.interval_seconds, settings.timeout_seconds)
            before = self._known.get(each.key)
            known[each.key] = before if before is not None and before.server == server else _Known(server)
        self._known = known
        self._loops.sync({key: each.server for key, each in known.items()})

    def listed(self, key: EndpointKey) -> frozenset[str] | None:
        """The names on the list of an endpoint, none of a server that answers without one; None: unknown now.

        Unknown is the list of a server that was never reached, that withholds it (HTTP 401, 403) or fails to answer,
        and one that was read and has grown too old.
        """
        known = self._known.get(key)
        if known is None:
            return None
        if known.at is None:
            return frozenset() if known.none else None
        usable = self._clock() - known.at <= _INTERVALS_OF_USE * self._settings.interval_seconds
        return known.names if usable else None

    def sizes(self) -> dict[str, int]:
        """How many names are on the lists that are known now, by the endpoints' names."""
        return {str(key): len(names) for key in self._known if (names := self.listed(key)) is not None}

    def health(self) -> dict[EndpointKey, ScrapeHealth]:
        """How reading each list goes."""
        return self._loops.health()

    def client(self, target: _Server, url: URL) -> PageClient:
        """See `PageVisitor`."""
        settings = self._settings
        return PageClient(
            url,
            LIST_LIMIT_BYTES,
            verify_tls=settings.verify_tls,
            certificates=settings.certificates,
            h2c=target.h2c,
        )

    def observer(self, target: _Server, pages: PageClient) -> Observe:
        """See `PageVisitor`."""
        known = self._known[target.key]

        async def observe(path: str, started: float) -> int:
            try:
                page = await pages.get(path)
                known.names, known.at = read_list(page.body), started
            except FetchError as error:
                known.none = not isinstance(error, Unreachable | Withheld | Failing)
                self._forget_old(known)
                raise
            self._keep(known, _kept(known.names), started)
            return len(page.body)

        return observe

    def _keep(self, known: _Known, names: frozenset[str], at: float) -> None:
        if names != known.kept:
            known.kept = names
        if self._sink is not None:
            # The same object while the list stays as it is.
            self._sink.record_beside(MODEL_LIST, known.server.key, ListedModels(known.kept), at)

    def _forget_old(self, known: _Known) -> None:
        """Tell that a list is too old, where the sink still has it."""
        if known.kept and known.at is not None and self.listed(known.server.key) is None:
            self._keep(known, NO_NAMES, known.at)


def _kept(names: frozenset[str]) -> frozenset[str]:
    """What the store has of the names: as many as of LoRA adapters on a page, the first in order."""
    short = [name for name in names if len(name) <= MAX_NAME_LENGTH]
    return names if len(short) == len(names) <= MAX_LORA_NAMES else frozenset(sorted(short)[:MAX_LORA_NAMES])


def read_list(page: bytes) -> frozenset[str]:
    """The names of the models on a page. Raises FetchError where it is no list of models, or too long a one."""
    try:
        document = orjson.loads(page)
    except orjson.JSONDecodeError:
        raise FetchError("the list of models is no JSON") from None
    entries = cast(dict[str, Any], document).get("data") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise FetchError("the list of models has no data")
    entries = cast(list[object], entries)
    if len(entries) > MOST_NAMES:
        raise FetchError(f"a list of more than {MOST_NAMES} models")
    return frozenset(name for entry in entries if (name := _name(entry)))


def _name(entry: object) -> str:
    name = cast(dict[str, object], entry).get("id") if isinstance(entry, dict) else None
    if not isinstance(name, str):
        raise FetchError("an entry of the list of models has no id")
    if len(name) > LONGEST_NAME:
        raise FetchError(f"a model's name is longer than {LONGEST_NAME} characters")
    return name
