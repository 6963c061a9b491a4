"""Names of objects that a selector picks: from the cluster's API server, else from discovery."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from infscale.endpoint import DiscoveryState
from infscale.kube.api.client import KubeClient
from infscale.kube.api.errors import Forbidden, KubeError, NotFound
from infscale.kube.api.resources import Resource
from infscale.kube.rights import Right, rights
from infscale.labels import Selector
from infscale.periodic import FetchError
from infscale.prometheus.rules.object_kinds import POD, ObjectKind
from infscale.prometheus.rules.rules_file import RulesFile

_PAGE: Final = 500
_MOST_PAGES: Final = 20
_SECONDS: Final = 5.0
_BYTES: Final = 16 * 1024 * 1024


class DiscoveredNames:
    """The pods and described objects that discovery knows."""

    def __init__(self, state: Callable[[], DiscoveryState]) -> None:
        self._state = state

    async def names(self, kind: ObjectKind, namespace: str, labels: Selector) -> Sequence[str]:
        """See `NamesObjects`."""
        state = self._state()
        if kind == POD:
            pods = {each.key.pod: each.labels for each in state.endpoints if each.key.namespace == namespace}
            return tuple(key.name for key, of_pod in pods.items() if labels.matches(of_pod))
        return tuple(
            each.key.name
            for each in state.objects
            if (each.group, each.resource) == (kind.group, kind.plural)
            and each.key.namespace in {namespace, each.key.name if not kind.namespaced else namespace}
            and labels.matches(each.labels)
        )


class ListedNames:
    """Asks the API server, which knows all objects, those that infscale does not serve included."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client.within(_SECONDS, _BYTES)
        self._versions: dict[str, str] = {}

    async def names(self, kind: ObjectKind, namespace: str, labels: Selector) -> Sequence[str]:
        """See `NamesObjects`."""
        try:
            return await self._listed(kind, namespace, labels)
        except Forbidden:
            raise FetchError(f"infscale may not list {kind}: allow it list on {kind}") from None
        except NotFound:
            self._versions.pop(kind.group, None)
            raise FetchError(f"the cluster has no {kind}") from None
        except KubeError as error:
            raise FetchError(f"the names of {kind} cannot be listed: {error}") from None

    async def _listed(self, kind: ObjectKind, namespace: str, labels: Selector) -> Sequence[str]:
        version = await self._version(kind)
        resource = Resource(kind.group, version, kind.plural, kind.namespaced, kind.kind)
        path = resource.path(namespace or None)
        params = {"limit": str(_PAGE), "labelSelector": str(labels)}
        found: list[str] = []
        for _ in range(_MOST_PAGES):
            page = await self._client.get(path, params)
            found += [_name(each) for each in page.get("items") or ()]
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return found
            params = {**params, "continue": str(token)}
        raise FetchError(f"the selector matches more than {_PAGE * _MOST_PAGES} {kind.plural}")

    async def _version(self, kind: ObjectKind) -> str:
        """The version that the cluster prefers of the group."""
        if not kind.group:
            return kind.version
        if kind.group not in self._versions:
            group = await self._client.get(f"/apis/{kind.group}")
            preferred = group.get("preferredVersion") or {}
            self._versions[kind.group] = str(preferred.get("version") or kind.version)
        return self._versions[kind.group]


def _name(item: Mapping[str, Any]) -> str:
    return str((item.get("metadata") or {}).get("name") or "")


def listing_needs(rules: RulesFile) -> frozenset[Right]:
    """What listing the objects takes that `rules` name: pods, and those of overrides; a template may mean any."""
    named = {kind for rule in rules.rules for kind in rule.labels.overrides.values()}
    found: frozenset[Right] = rights(("list",), "", "pods")
    for kind in sorted(named, key=str):
        found |= rights(("list",), kind.group, kind.plural)
    return found
