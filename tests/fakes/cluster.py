"""A cluster that answers reviews from tables and keeps one ConfigMap."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

from infscale.kube.api.errors import KubeError

JsonObject = dict[str, Any]
TOKENS = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class FakeCluster:
    """Answers as a test says: `users` by token, `allows` for questions, `config_map` for who is trusted.

    `fails` holds errors that the next calls raise, in order; `gate` holds reviews back while it is clear.
    """

    def __init__(self, config_map: Mapping[str, str] | None = None) -> None:
        self.users: dict[str, JsonObject] = {}
        self.allows: Callable[[JsonObject], bool | JsonObject] = lambda spec: False
        self.fails: list[KubeError] = []
        self.reviews: list[tuple[str, JsonObject]] = []
        self.lists: list[Mapping[str, str]] = []
        self.watches: list[Mapping[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.config_map = config_map
        self._version = 1
        self._events: asyncio.Queue[JsonObject | KubeError | None] = asyncio.Queue()

    async def create(self, path: str, body: JsonObject) -> JsonObject:
        self.reviews.append((path, body))
        await self.gate.wait()
        if self.fails:
            raise self.fails.pop(0)
        if path == TOKENS:
            user = self.users.get(body["spec"]["token"])
            return {**body, "status": {"authenticated": user is not None, **({"user": user} if user else {})}}
        assert path == ACCESS
        answer = self.allows(body["spec"])
        return {**body, "status": answer if isinstance(answer, dict) else {"allowed": answer}}

    async def get(self, path: str, params: Mapping[str, str] = {}) -> JsonObject:
        assert path == "/api/v1/namespaces/kube-system/configmaps"
        self.lists.append(params)
        if self.fails:
            raise self.fails.pop(0)
        items = [] if self.config_map is None else [self._object()]
        return {"kind": "ConfigMapList", "metadata": {"resourceVersion": str(self._version)}, "items": items}

    async def watch(self, path: str, params: Mapping[str, str]) -> AsyncGenerator[JsonObject, None]:
        assert path == "/api/v1/namespaces/kube-system/configmaps"
        self.watches.append(params)
        while (event := await self._events.get()) is not None:
            if isinstance(event, KubeError):
                raise event
            yield event

    def change(self, data: Mapping[str, str] | None) -> None:
        """Replace the ConfigMap, or delete it, and tell who watches."""
        gone, self.config_map = self._object(), data
        self._version += 1
        self._events.put_nowait({"type": "DELETED", "object": gone} if data is None else self._event())

    def end_watch(self, error: KubeError | None = None) -> None:
        """End the watch, by an error if there is one."""
        self._events.put_nowait(error)

    def send(self, event: JsonObject) -> None:
        """Any event to who watches."""
        self._events.put_nowait(event)

    def _event(self) -> JsonObject:
        return {"type": "MODIFIED", "object": self._object()}

    def _object(self) -> JsonObject:
        return {"metadata": {"name": "x", "resourceVersion": str(self._version)}, "data": dict(self.config_map or {})}
