"""An API server in memory: lists and watches, versions, missing kinds, missing rights, broken connections."""

import asyncio
import copy
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from infscale.kube.api.errors import Forbidden, NotFound, Unreachable

Json = dict[str, Any]


class FakeCluster:
    """Objects by collection path (``/api/v1/namespaces/chat/pods``); a path without namespaces lists all of them.

    `missing` and `forbidden` are plurals. `break_watches` ends the watches that run.
    """

    def __init__(self) -> None:
        self.version = 10
        self.items: dict[tuple[str, str, str, str], Json] = {}
        self.log: list[tuple[int, str, str, str, Json]] = []
        self.missing: set[str] = set()
        self.forbidden: set[str] = set()
        self.down = False
        self.lists: list[str] = []
        self.patches: list[tuple[str, Json]] = []
        self._news = asyncio.Condition()
        self._epoch = 0

    # What a test does

    async def apply(self, group: str, plural: str, item: Json) -> None:
        """Create the object or put it in a new version."""
        key = (group, plural, item["metadata"].get("namespace", ""), item["metadata"]["name"])
        kind = "MODIFIED" if key in self.items else "ADDED"
        await self._put(kind, key, copy.deepcopy(item))

    async def remove(self, group: str, plural: str, item: Json) -> None:
        """Delete the object."""
        key = (group, plural, item["metadata"].get("namespace", ""), item["metadata"]["name"])
        await self._put("DELETED", key, self.items[key])

    async def break_watches(self) -> None:
        """End all running watches."""
        async with self._news:
            self._epoch += 1
            self._news.notify_all()

    async def _put(self, kind: str, key: tuple[str, str, str, str], item: Json) -> None:
        self.version += 1
        item = {**item, "metadata": {**item["metadata"], "resourceVersion": str(self.version)}}
        if kind == "DELETED":
            del self.items[key]
        else:
            self.items[key] = item
        async with self._news:
            self.log.append((self.version, key[0], key[1], kind, item))
            self._news.notify_all()

    # What a client does

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Json:
        group, plural, namespace = self._reach(path)
        self.lists.append(path)
        items = [
            copy.deepcopy(item)
            for (of_group, of_plural, of_namespace, _), item in self.items.items()
            if (of_group, of_plural) == (group, plural) and namespace in {"", of_namespace}
        ]
        # In pages where they are asked for; nothing changes between two of them.
        start, size = int((params or {}).get("continue") or 0), int((params or {}).get("limit") or len(items) or 1)
        more = {"continue": str(start + size)} if start + size < len(items) else {}
        metadata = {"resourceVersion": str(self.version), **more}
        return {"kind": "List", "metadata": metadata, "items": items[start : start + size]}

    async def watch(self, path: str, params: Mapping[str, str]) -> AsyncGenerator[Json]:
        group, plural, namespace = self._reach(path)
        seen, epoch = int(params.get("resourceVersion") or self.version), self._epoch
        yield {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(seen)}}}
        while True:
            for version, of_group, of_plural, kind, item in list(self.log):
                mine = (of_group, of_plural) == (group, plural)
                if version > seen and mine and namespace in {"", item["metadata"].get("namespace", "")}:
                    seen = version
                    yield {"type": kind, "object": copy.deepcopy(item)}
            seen = max(seen, self.log[-1][0] if self.log else 0)
            async with self._news:
                await self._news.wait_for(
                    lambda: self._epoch != epoch or (bool(self.log) and self.log[-1][0] > seen)  # noqa: B023
                )
            if self._epoch != epoch:
                return

    async def patch(self, path: str, body: Json, **_: Any) -> Json:
        group, plural, namespace = self._reach(path.rpartition("/")[0].rpartition("/")[0])
        name = path.split("/")[-2]
        key = (group, plural, namespace, name)
        self.patches.append((path, body))
        await self._put("MODIFIED", key, {**self.items[key], "status": body["status"]})
        return self.items[key]

    def _reach(self, path: str) -> tuple[str, str, str]:
        parts = path.strip("/").split("/")
        group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        if self.down:
            raise Unreachable("connection refused")
        if rest[0] in self.forbidden:
            raise Forbidden(f'{rest[0]} is forbidden: User "infscale" cannot list resource "{rest[0]}"')
        if rest[0] in self.missing:
            raise NotFound("the server could not find the requested resource")
        return group, rest[0], namespace
