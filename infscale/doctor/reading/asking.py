"""Questions to an API server, some at once; remembers which kinds could be listed."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from infscale.doctor.reading.looked_kinds import LookedKind
from infscale.doctor.reading.plain_json import Json
from infscale.kube.api.errors import KubeError, NotFound, TooLarge

_PAGE = 500
_MOST_PAGES = 40
_AT_ONCE = 8


class Cluster(Protocol):
    """The part of the API server's client that looking takes. Every method raises `KubeError`."""

    async def get(self, path: str, params: Mapping[str, str] = ...) -> dict[str, Any]:
        """The object, list or document at `path`."""
        ...

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object; the doctor creates reviews of rights alone, which are kept nowhere."""
        ...


class Asking:
    """One look at a cluster; guards what could be seen in it (`seen`) and why the rest could not (`unseen`)."""

    def __init__(self, client: Cluster, namespace: str | None) -> None:
        self._client = client
        self._namespace = namespace
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self.seen: set[str] = set()
        self.unseen: dict[str, str] = {}

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Json:
        """The document at `path`. Raises `KubeError`."""
        async with self._limit:
            return Json(await self._client.get(path, params or {}))

    async def review(self, path: str, body: dict[str, Any]) -> Json:
        """The answer to a review. Raises `KubeError`."""
        async with self._limit:
            return Json(await self._client.create(path, body))

    async def listed(self, name: str, kind: LookedKind) -> tuple[Json, ...]:
        """The objects of a kind; none where the API server does not have it, or does not let this user list it."""
        for version in (kind.resource.version, *kind.versions):
            path = replace(kind.resource, version=version).path(self._namespace)
            try:
                found = await self.pages(path, kind.params)
            except NotFound:
                # No such resource, so none of its objects.
                continue
            except KubeError as error:
                self.unseen[name] = str(error)
                return ()
            self.seen.add(name)
            return found
        self.seen.add(name)
        return ()

    async def pages(self, path: str, params: Mapping[str, str] | None = None) -> tuple[Json, ...]:
        """The items of a list, page by page. Raises `KubeError`."""
        found: list[Json] = []
        asked = {**(params or {}), "limit": str(_PAGE)}
        for _ in range(_MOST_PAGES):
            page = await self.get(path, asked)
            found += page.at("items").items()
            token = page.at("metadata", "continue").text()
            if not token:
                return tuple(found)
            asked["continue"] = token
        # Of a part of them rules would say that the rest is not there.
        raise TooLarge(f"there are more than {_PAGE * _MOST_PAGES} objects: name a namespace")
