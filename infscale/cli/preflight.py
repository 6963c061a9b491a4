"""``infscale preflight``: what answers the metrics APIs of a cluster, and which overlays take nothing from another.

Exit codes: 0 the overlays named (all that are not named are only told of) may be applied, 1 one of them would take
something over or the cluster cannot be asked, 2 wrong arguments or kubeconfig.
"""

import argparse
import asyncio
from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from adapter.registering.api_services import read_ownership
from adapter.registering.issuing import Subject
from adapter.registering.ownership import OVERLAYS, Advice, ApiService, Owner, Ownership, advice
from infscale.cli.arguments import add_cluster, cluster_of
from infscale.config.settings import DEFAULT_SERVICE
from infscale.documents.strict_document import quoted
from infscale.errors import ConfigError
from infscale.kube.api.client import KubeClient
from infscale.kube.api.errors import KubeError
from infscale.kube.api.resources import AUTOSCALERS

_PAGE = 500
_MOST_PAGES = 40
_NAMED = 5
_FORMS = {"Pods": "custom", "Object": "custom", "External": "external"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = (
        "Looks at a cluster, changes nothing, and says which overlays of manifests/adapter may be applied."
    )
    names = tuple(each.name for each in OVERLAYS)
    parser.add_argument(
        "overlays", nargs="*", metavar="OVERLAY", help=f"what is to be applied: {', '.join(names)}; none: tell of all"
    )
    add_cluster(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report."""
    known = {each.name for each in OVERLAYS}
    unknown = [name for name in arguments.overlays if name not in known]
    if unknown:
        expected = ", ".join(each.name for each in OVERLAYS)
        raise ConfigError(
            "arguments", "OVERLAY", f"there is no overlay {quoted(unknown[0])}; expected one of {expected}"
        )
    # The Kubernetes client takes 47 MiB and is imported where there is a cluster.
    from infscale.kube.api.cluster_access import cluster

    found = asyncio.run(looked_at(cluster(*cluster_of(arguments))))
    for line in report(found):
        print(line)
    wanted = set(arguments.overlays)
    return 1 if any(each.overlay in wanted and not each.may for each in advice(found.ownership)) else 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What of a cluster matters here: which Service has what, and HPAs that ask for custom and for external metrics.

    `autoscalers` are names by ``custom`` and ``external``; None where they may not be listed.
    """

    ownership: Ownership
    autoscalers: Mapping[str, tuple[str, ...]] | None


async def looked_at(connect: AbstractAsyncContextManager[KubeClient]) -> Seen:
    """What there is in a cluster. Raises `ConfigError` where there is no way in, `KubeError` where nothing answers."""
    async with connect as client:
        ownership, _ = await read_ownership(client, Subject(DEFAULT_SERVICE.name, DEFAULT_SERVICE.namespace))
        try:
            return Seen(ownership, await _autoscalers(client))
        except KubeError:
            return Seen(ownership, None)


async def _autoscalers(client: KubeClient) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {"custom": {}, "external": {}}
    params = {"limit": str(_PAGE)}
    for _ in range(_MOST_PAGES):
        page = await client.get(AUTOSCALERS.path(), params)
        for item in page.get("items") or ():
            for api in _asks(item):
                found[api][f"{item['metadata']['namespace']}/{item['metadata']['name']}"] = None
        token = (page.get("metadata") or {}).get("continue")
        if not token:
            break
        params = {**params, "continue": token}
    return {api: tuple(names) for api, names in found.items()}


def _asks(autoscaler: Mapping[str, Any]) -> Iterable[str]:
    metrics = (autoscaler.get("spec") or {}).get("metrics") or ()
    return {_FORMS[each["type"]] for each in metrics if each.get("type") in _FORMS}


def report(seen: Seen) -> Iterable[str]:
    """What there is, and what to apply."""
    yield "Who answers now"
    for each in seen.ownership.services.values():
        yield f"  {each.name:32} {_owner(each)}"
    yield ""
    yield "HPAs that ask"
    if seen.autoscalers is None:
        yield "  not known: this user may not list horizontalpodautoscalers"
    else:
        for api, names in seen.autoscalers.items():
            listed = f": {', '.join(names[:_NAMED])}{' …' if len(names) > _NAMED else ''}" if names else ""
            yield f"  {api + ' metrics':32} {len(names)}{listed}"
    yield ""
    yield "What to apply (manifests/adapter/overlays)"
    for said in advice(seen.ownership):
        yield f"  {said.overlay:32} {_advised(said)}"


def _owner(each: ApiService) -> str:
    if each.owner is Owner.NONE:
        return "none"
    state = "answers" if each.is_available else "does not answer"
    return f"{'infscale, ' if each.owner is Owner.INFSCALE else ''}{each.service} ({state})"


def _advised(said: Advice) -> str:
    return f"{'yes' if said.may else 'NO'}: {said.why}"
