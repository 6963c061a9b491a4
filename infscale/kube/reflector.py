"""Follows one resource type of a cluster: list, then watch, for ever."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Set
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from infscale.endpoint import ObjectKey
from infscale.errors import bare
from infscale.kube.api.errors import Forbidden, Gone, KubeError, NotFound, Rejected, TooLarge
from infscale.kube.api.resources import Resource
from infscale.kube.api.verbs import Follows, JsonObject
from infscale.kube.watched_objects import key_of
from infscale.kube.watching import (
    Change,
    Next,
    Progress,
    ReflectorSettings,
    Seen,
    after_end,
    after_failure,
    read_event,
    when_absent,
)
from infscale.process.log import where

if TYPE_CHECKING:
    import random

_DIVISOR = 4
_MOST_DOUBLINGS = 5
_MOST_CAUSES = 16
_ITEMS_AT_ONCE = 50

_log = logging.getLogger(__name__)


class Cache(Protocol):
    """Keeps what it needs of the objects, not the objects: they are large."""

    def retain(self, keys: Set[ObjectKey]) -> None:
        """Hold no other objects than these: each was put, and others were deleted."""
        ...

    def put(self, item: JsonObject) -> None:
        """Hold `item`, new or in a new version."""
        ...

    def remove(self, item: JsonObject) -> None:
        """Hold `item` no longer."""
        ...


class Reflector:
    """Keeps a cache equal to what the API server has of one resource type; guards how far it has come.

    While the server cannot be reached the cache keeps its last state. A resource type that the server does not know is
    empty, and looked for again.
    """

    def __init__(
        self,
        client: Follows,
        resource: Resource,
        cache: Cache,
        clock: Callable[[], float],
        rng: "random.Random",
        settings: ReflectorSettings | None = None,
    ) -> None:
        self.resource = resource
        self.namespace = None if settings is None else settings.namespace
        self.synced = asyncio.Event()
        """Set once everything was listed, or the server has said that it does not know the resource type."""
        self.answered = asyncio.Event()
        """Set with `synced`, or once the server has said that this identity may not see the resource type."""
        self.problem: KubeError | None = None
        """Why the cache is not followed now; None while it is."""
        self.disconnected_since: float | None = clock()
        """The second since which the cache may be behind the server; None while it is followed."""
        self.absent = False
        """Whether the server does not know the resource type."""
        self._client = client
        self._cache = cache
        self._clock = clock
        self._rng = rng
        self._settings = settings or ReflectorSettings()
        self._path = resource.path(self._settings.namespace)
        self._progress = Progress()
        self._taken_at: float | None = None
        self._said: str | None = None
        self._expired = 0
        self._strange_said: set[str] = set()
        self.strange = 0
        """How many versions of objects could not even be looked at."""

    def disconnected_seconds(self, now: float) -> float:
        """How long the cache may have been behind the server at `now`; 0 while it is followed."""
        return 0.0 if self.disconnected_since is None else max(0.0, now - self.disconnected_since)

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            wait_seconds = await self._round()
            await asyncio.sleep(wait_seconds)

    async def _round(self) -> float:
        """One list where one is due, and one watch; returns the seconds to wait before the next."""
        self._taken_at = None
        try:
            if self._progress.version is None:
                await self._list()
            await self._watch()
            step = after_end(self._progress, self._lasted(), self._settings, self._rng)
        except KubeError as error:
            step = self._failed(error)
        except Exception as error:
            # The top of the loop: whatever one object provokes, the next list may be better.
            step = self._failed(Rejected(f"internal error ({where(error)})"))
        self._progress = step.progress
        return step.wait_seconds

    def _lasted(self) -> float:
        """How long the watch of this round has lasted; 0: the server did not take it."""
        return 0.0 if self._taken_at is None else self._clock() - self._taken_at

    def _failed(self, error: KubeError) -> Next:
        if isinstance(error, NotFound) and self._is_absent():
            self._empty()
            return when_absent(self._settings, self._rng)
        step = after_failure(self._progress, error, self._lasted(), self._settings, self._rng)
        self.problem = bare(error)
        if isinstance(error, Forbidden):
            self.answered.set()
        if self.disconnected_since is None:
            self.disconnected_since = self._clock()
        # Connections end and versions expire in the best of clusters; what does not pass at once is worth a line.
        if step.progress.failures > 1 or isinstance(error, (Forbidden, Rejected)):
            self._say(error)
        return step

    def _is_absent(self) -> bool:
        """Whether the server is believed that it does not know the resource type.

        What was there before is gone only when it says so twice: one wrong answer would take every pool away.
        """
        return not self.synced.is_set() or self.absent or isinstance(self.problem, NotFound)

    def _empty(self) -> None:
        if not self.absent:
            _log.info("%s is not known to this cluster; it is looked for again and again", self.resource.name)
        self._cache.retain(frozenset())
        self._followed()
        self.absent = True

    def _followed(self) -> None:
        self.problem = None
        self.disconnected_since = None
        self.absent = False
        self.synced.set()
        self.answered.set()

    def _say(self, error: KubeError) -> None:
        if str(error) == self._said:
            return
        self._said = str(error)
        name = self.resource.name
        rights = f"; allow this identity the verbs list and watch on {name}" if isinstance(error, Forbidden) else ""
        _log.warning("%s cannot be followed, the last state stays: %s%s", name, error, rights)

    # Lists

    async def _list(self) -> None:
        """Hold what there is: each page is taken in as it comes, and what no page had leaves at the end."""
        listed: set[ObjectKey] = set()
        version = ""
        async for page in self._pages():
            version = str((page.get("metadata") or {}).get("resourceVersion") or "")
            for place, item in enumerate(page.get("items") or ()):
                key = self._taken(item)
                if key is not None:
                    listed.add(key)
                if not place % _ITEMS_AT_ONCE:
                    # So many are some milliseconds of work; others have their turn before the next.
                    await asyncio.sleep(0)
        self._cache.retain(listed)
        self._progress = Progress(version, self._progress.failures)
        self._followed()

    async def _pages(self) -> AsyncGenerator[JsonObject, None]:
        """The pages of a list, all of one version.

        One that is larger than is read is asked for again in smaller ones: objects can have MiB of annotations. Where
        the server did not keep the version of the pages long enough, the next list asks for larger ones.
        """
        size = self._settings.page_size << min(self._expired, _MOST_DOUBLINGS)
        token = ""
        while True:
            asked = {"limit": str(size), **({"continue": token} if token else {})}
            try:
                page = await self._client.get(self._path, asked)
            except TooLarge:
                if size == 1:
                    raise
                size = max(1, size // _DIVISOR)
                continue
            except Gone:
                self._expired += 1
                raise
            yield page
            token = str((page.get("metadata") or {}).get("continue") or "")
            if not token:
                self._expired = 0
                return

    def _taken(self, item: JsonObject) -> ObjectKey | None:
        """Take one object of a list in; gives its key, None where it has none.

        What one object provokes is that object's alone: it is left as it was, and said once for each cause.
        """
        try:
            key = key_of(item)
            self._cache.put(item)
        except Exception as error:
            self._strange(error)
            return _key_of_strange(item)
        return key

    def _strange(self, error: Exception) -> None:
        words = where(error)
        self.strange += 1
        if words not in self._strange_said and len(self._strange_said) < _MOST_CAUSES:
            self._strange_said.add(words)
            _log.error("an object of %s cannot be read and is passed over: %s", self.resource.name, words)

    # Watches

    async def _watch(self) -> None:
        shortest, longest = self._settings.watch_seconds
        params = {
            "resourceVersion": self._progress.version or "",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, round(self._rng.uniform(shortest, longest)))),
        }
        async with aclosing(self._client.watch(self._path, params)) as events:
            async for event in events:
                seen = read_event(event)
                if self._taken_at is None:
                    self._take()
                self._change(seen)
                self._progress = replace(self._progress, version=seen.version)

    def _take(self) -> None:
        """The server took the watch."""
        self._taken_at = self._clock()
        self._followed()
        if self._said is not None:
            self._said = None
            _log.info("%s is followed again", self.resource.name)

    def _change(self, seen: Seen) -> None:
        try:
            match seen.change:
                case Change.PUT:
                    self._cache.put(seen.item)
                case Change.REMOVE:
                    self._cache.remove(seen.item)
                case Change.NOTHING:
                    pass
        except Exception as error:
            # As in a list: the next event may be of a better object.
            self._strange(error)


def _key_of_strange(item: JsonObject) -> ObjectKey | None:
    try:
        return key_of(item)
    except (KeyError, TypeError, AttributeError):
        return None
