"""Follows the authorities that the cluster trusts, live."""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import aclosing

from adapter.access.trust import Trust, parse_trust
from adapter.errors import TrustError
from infscale.backoff import Backoff
from infscale.kube.api.errors import Forbidden, Gone, KubeError
from infscale.kube.api.verbs import Follows, JsonObject
from infscale.kube.rights import rights
from infscale.process.log import where

NAMESPACE = "kube-system"
NAME = "extension-apiserver-authentication"
PATH = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
TRUST_NEEDS = rights(("list", "watch"), "", "configmaps", [NAME], NAMESPACE)
"""What following takes."""
WATCH_SECONDS = 300
"""How long one watch lasts before the ConfigMap is read again: a connection that died unnoticed costs no more."""

_ONE = {"fieldSelector": f"metadata.name={NAME}"}
_NO_PROXY = (
    f"ConfigMap {NAMESPACE}/{NAME} has no requestheader-client-ca-file: requests by way of the API server are refused; "
    "start the API server with --requestheader-client-ca-file"
)
_BACKOFF = Backoff(base_seconds=0.5, cap_seconds=15.0)

_log = logging.getLogger(__name__)


class TrustFollower:
    """Knows the trust of the cluster as the ConfigMap says it; what cannot be read changes nothing.

    `use` gets each new trust before `trust` shows it, so that no certificate is believed that TLS does not know yet.
    """

    def __init__(
        self, client: Follows, use: Callable[[Trust], None], rng: random.Random, backoff: Backoff = _BACKOFF
    ) -> None:
        self._client = client
        self._use = use
        self._rng = rng
        self._backoff = backoff
        self.trust: Trust | None = None
        self.problem: str | None = None
        """Why the ConfigMap cannot be read now, in words for people; None while it can."""

    async def read(self) -> str:
        """Read the ConfigMap once and return from where to watch it. Raises `KubeError`."""
        found = await self._client.get(PATH, _ONE)
        items = found.get("items") or []
        if items:
            self._take(items[0])
        else:
            self._keep(f"there is no ConfigMap {NAMESPACE}/{NAME}")
        return str((found.get("metadata") or {}).get("resourceVersion") or "")

    async def follow(self) -> None:
        """Read and watch for ever."""
        failures = 0
        while True:
            try:
                await self._watch(await self.read())
                failures = 0
            except KubeError as error:
                failures += not isinstance(error, Gone)
                self._keep(_words(error))
            except Exception as error:
                # The top of the loop: trust goes on being followed whatever one answer provokes.
                failures += 1
                self._keep(f"internal error ({where(error)})")
            await asyncio.sleep(self._backoff.delay(failures, self._rng))

    async def _watch(self, version: str) -> None:
        limits = {"allowWatchBookmarks": "true", "timeoutSeconds": str(WATCH_SECONDS)}
        params = {**_ONE, "resourceVersion": version, **limits}
        async with aclosing(self._client.watch(PATH, params)) as events:
            async for event in events:
                match event.get("type"):
                    case "ADDED" | "MODIFIED":
                        self._take(event["object"])
                    case "DELETED":
                        # The API server deletes it to write it anew.
                        self._keep(f"the ConfigMap {NAMESPACE}/{NAME} was deleted")
                    case "ERROR":
                        return
                    case _:
                        pass

    def _take(self, config_map: JsonObject) -> None:
        try:
            trust = parse_trust(config_map.get("data") or {})
        except TrustError as error:
            self._keep(f"ConfigMap {NAMESPACE}/{NAME}, {error}")
            return
        if trust != self.trust:
            self._use(trust)
            _log.info("whom the cluster trusts is read from ConfigMap %s/%s", NAMESPACE, NAME)
            self.trust = trust
        self._say(None if trust.proxy is not None else _NO_PROXY)

    def _keep(self, problem: str) -> None:
        nothing = "until it can be read, certificates prove nothing"
        self._say(f"{problem}; {'what was read before stays in force' if self.trust else nothing}")

    def _say(self, problem: str | None) -> None:
        if problem is not None and problem != self.problem:
            _log.warning("%s", problem)
        self.problem = problem


def _words(error: KubeError) -> str:
    if isinstance(error, Forbidden):
        return (
            f"the adapter may not read ConfigMap {NAMESPACE}/{NAME}; bind it to the Role "
            f"extension-apiserver-authentication-reader in {NAMESPACE}"
        )
    return f"cannot read ConfigMap {NAMESPACE}/{NAME}: {error}"
