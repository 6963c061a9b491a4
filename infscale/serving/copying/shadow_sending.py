"""The part that sends copies of requests: one HTTP request for each, whose answer is read and dropped."""

import asyncio
import logging
import re
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import aiohttp

from infscale.config.settings import ScrapeSettings
from infscale.config.shadow_settings import Shadows
from infscale.endpoint import DiscoveryState, ObjectKey
from infscale.metrics.store.metrics_store import MetricStore
from infscale.periodic import FetchError
from infscale.scrape.fetch import own_tls, system_tls
from infscale.serving.parts import Part
from infscale.telemetry.debug_documents import DebugPage, at_once
from picker.request import Director
from picker.shadowing.shadow_books import Failure, Seen, status_class
from picker.shadowing.shadow_director import ShadowCopy, ShadowDirector
from picker.shadowing.shadow_document import shadow_document
from picker.telemetry.shadow_metrics import ShadowCollector

_LOG = logging.getLogger(__name__)

_MOST_ANSWER_BYTES: Final = 64 << 20
_TAIL_BYTES: Final = 2_048
# In a text of the answer, the quotes would have backslashes before them.
_TOKENS: Final = re.compile(rb'"completion_tokens"\s*:\s*(\d{1,10})\b')
_STOPPED: Final[Failure] = "stopped"


class ShadowSending(Part):
    """Sends what `director`, which stands around `inner`, has it send; each copy is a task of its own.

    Connections believe and show what those for metrics pages do by what `scrape` says at the time, and serve one copy:
    one that the server closes meanwhile would look like a failure of the candidate.
    """

    def __init__(
        self,
        inner: Director,
        shadows: Shadows,
        scrape: Callable[[], ScrapeSettings],
        store: MetricStore,
        clock: Callable[[], float],
    ) -> None:
        self.director = ShadowDirector(inner, shadows, store, self._send, clock)
        self._scrape = scrape
        self._clock = clock
        self._group: asyncio.TaskGroup | None = None
        self._unknown = frozenset[ObjectKey]()
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._collectors = (ShadowCollector(self.director.books),)

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"User-Agent": "infscale", "Accept-Encoding": "identity"},
        )
        self._group = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        group, self._group = self._group, None
        for task in self._tasks:
            task.cancel()
        if group is not None:
            await group.__aexit__(None, None, None)
        if self._session is not None:
            await self._session.close()

    def sync(self, state: DiscoveryState) -> None:
        """Follow discovery; say which pools of the configuration there are not, when these are others than before."""
        self.director.sync(state)
        named = {pool for way in self.director.books.ways for pool in (way.pool, way.to)}
        unknown = frozenset(named - {each.key for each in state.pools})
        if unknown and unknown != self._unknown:
            fields = {"pools": ", ".join(sorted(map(str, unknown)))}
            _LOG.warning("picker.shadow names pools that there are not", extra={"fields": fields})
        self._unknown = unknown

    def pages(self) -> dict[str, DebugPage]:
        """The document under `/debug/`."""
        return {"shadow": at_once(lambda: shadow_document(self.director.books))}

    def _send(self, copy: ShadowCopy) -> None:
        if self._group is None or self._session is None:
            self.director.ended(copy, Seen(_STOPPED, None, 0.0))
            return
        task = self._group.create_task(self._copied(copy, self._session))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A task that is cancelled before its first step runs none of it.
        task.add_done_callback(lambda _: self._settled(copy))

    def _settled(self, copy: ShadowCopy) -> None:
        """The task of `copy` is over, however."""
        if not copy.over:
            self.director.ended(copy, Seen(_STOPPED, None, self._clock() - copy.pair.decided_at))

    async def _copied(self, copy: ShadowCopy, session: aiohttp.ClientSession) -> None:
        content = copy.content()
        if content is None:
            self.director.withdrawn(copy)
            return
        self.director.going(copy)
        answer = _Answer()
        failure: Failure | None = None
        try:
            async with asyncio.timeout(copy.way.settings.timeout_seconds):
                await self._exchange(copy, content, session, answer)
        except TimeoutError:
            failure = "timeout"
        except (aiohttp.ClientConnectorError, FetchError, ssl.SSLError):
            failure = "unreachable"
        except (aiohttp.ClientError, OSError, ValueError):
            failure = "broken"
        except Exception:
            # What is wrong with a copy is no reason to end what serves requests.
            _LOG.exception("a copy of a request failed")
            failure = "broken"
        since = copy.pair.decided_at
        first = None if answer.first_byte_at is None else answer.first_byte_at - since
        result = failure or ("cut" if answer.cut else status_class(answer.status))
        tokens = None if failure else answer.tokens
        self.director.ended(copy, Seen(result, first, self._clock() - since, tokens))

    async def _exchange(
        self, copy: ShadowCopy, content: bytes, session: aiohttp.ClientSession, answer: "_Answer"
    ) -> None:
        scheme = copy.way.settings.scheme or self._scrape().scheme
        url = f"{scheme}://{copy.authority}{copy.path}"
        tls, name = (True, None) if scheme == "http" else await self._trust()
        async with session.post(
            url,
            data=content,
            headers=list(copy.headers),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None),
            ssl=tls,
            server_hostname=name,
        ) as response:
            answer.status = response.status
            answer.first_byte_at = self._clock()
            async for piece in response.content.iter_any():
                if not answer.takes(piece):
                    break

    async def _trust(self) -> tuple[ssl.SSLContext, str | None]:
        """What a connection believes and shows, and the name that the server's certificate is to have."""
        scrape = self._scrape()
        certificates = scrape.certificates
        if certificates is None:
            return await asyncio.to_thread(system_tls, scrape.verify_tls), None
        context = await asyncio.to_thread(own_tls, certificates, scrape.verify_tls)
        return context, certificates.server_name


class _Answer:
    """What is kept of an answer: its status, when it began, and the last bytes, while it is read."""

    __slots__ = ("_size_bytes", "_tail", "cut", "first_byte_at", "status")

    def __init__(self) -> None:
        self.status = 0
        self.first_byte_at: float | None = None
        self.cut = False
        self._size_bytes = 0
        self._tail = b""

    def takes(self, piece: bytes) -> bool:
        """Take in `piece`; whether more is read."""
        self._size_bytes += len(piece)
        self._tail = (self._tail + piece[-_TAIL_BYTES:])[-_TAIL_BYTES:]
        self.cut = self._size_bytes > _MOST_ANSWER_BYTES
        return not self.cut

    @property
    def tokens(self) -> int | None:
        """How many the engine says that it made, where it says so at the end, as engines do."""
        found = _TOKENS.findall(self._tail)
        return int(found[-1]) if found else None
