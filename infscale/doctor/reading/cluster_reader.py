"""Looks at a cluster through its API server, as the user of the kubeconfig; it only reads."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from adapter.api.paths import CUSTOM_GROUP
from infscale.config.settings import ServeConfig
from infscale.doctor.reading import (
    api_objects,
    hpa_reader,
    infscale_reader,
    routing_objects,
    scaler_objects,
    workload_objects,
)
from infscale.doctor.reading.asking import Asking, Cluster
from infscale.doctor.reading.declared_pools import declared
from infscale.doctor.reading.listed_metrics import listed_metrics
from infscale.doctor.reading.looked_kinds import KINDS, OTHER_SCALERS, OTHER_WORKLOADS, POOL_USERS
from infscale.doctor.reading.plain_json import Json
from infscale.doctor.view.cluster_view import ClusterView
from infscale.endpoint import ObjectKey
from infscale.kube.api.errors import KubeError, Unreachable
from infscale.kube.rights import Right

_HPAS = "horizontalpodautoscalers"


@dataclass(frozen=True, slots=True)
class Scope:
    """What is looked at: one namespace, or all (None). `config` is that of a given file.

    `discovery_needs` tells the rights that infscale's discovery needs with a configuration.
    """

    namespace: str | None = None
    config: ServeConfig | None = None
    discovery_needs: Callable[[ServeConfig], frozenset[Right]] = lambda _: frozenset()


async def look(client: Cluster, scope: Scope, now: float) -> ClusterView:
    """The cluster at `now` (Unix seconds).

    Raises `KubeError` where the API server does not answer, or does not let this user list HPAs.
    """
    asking = Asking(client, scope.namespace)
    version, groups = await asking.get("/version"), await asking.get("/apis")
    found = await _objects(asking)
    if _HPAS in asking.unseen:
        raise Unreachable(f"HPAs cannot be listed: {asking.unseen[_HPAS]}")
    view = _with_routing(_with_scaling(ClusterView(now, api_objects.minor_of(version)), found), found, asking.seen)
    plurals = await hpa_reader.plurals(asking, view.autoscalers, api_objects.served(groups))
    scales = await hpa_reader.scales(asking, view.autoscalers, plurals)
    preferred = api_objects.preferred(groups, CUSTOM_GROUP, "v1beta2")
    answers = await hpa_reader.answers(asking, view.autoscalers, scales, plurals, preferred)
    names = await listed_metrics(asking, view.autoscalers, preferred)
    own, config = await infscale_reader.infscale(asking, scope.config)
    taken = [each.key for each in view.pools]
    needs = infscale_reader.adapter_needs(own, config)
    if config is not None:
        needs |= scope.discovery_needs(config)
    rights = await infscale_reader.rights(asking, view.autoscalers, own, needs)
    services = await infscale_reader.api_services(asking)
    return replace(
        view,
        declared=declared(found, config, scope.namespace, taken),
        kinds=frozenset(plurals),
        scales=scales,
        answers=answers,
        listed=names,
        infscale=own,
        rights=rights,
        api_services=services,
        seen=frozenset(asking.seen),
        unseen=dict(asking.unseen),
    )


Objects = Mapping[str, tuple[Json, ...]]
"""Objects by the name of their kind in the tables of `looked_kinds`."""


async def _objects(asking: Asking) -> Objects:
    looked = {**KINDS, **OTHER_WORKLOADS}
    looked.update({name: kind for name, (kind, _) in POOL_USERS.items()})
    looked.update({name: kind for name, (kind, _) in OTHER_SCALERS.items()})
    async with asyncio.TaskGroup() as tasks:
        started = {name: tasks.create_task(asking.listed(name, kind)) for name, kind in looked.items()}
    return {name: task.result() for name, task in started.items()}


def _with_scaling(view: ClusterView, found: Objects) -> ClusterView:
    owners = api_objects.replica_set_owners(found["replicasets"])
    kinds = (("deployments", "Deployment"), ("statefulsets", "StatefulSet"))
    return replace(
        view,
        autoscalers=tuple(map(scaler_objects.autoscaler, found[_HPAS])),
        scaled_objects=tuple(map(scaler_objects.scaled_object, found["scaledobjects"])),
        others=tuple(
            scaler_objects.other_scaler(each, kind.resource.name, kind.resource.kind, path)
            for name, (kind, path) in OTHER_SCALERS.items()
            for each in found[name]
        ),
        workloads=tuple(workload_objects.workload(each, kind) for name, kind in kinds for each in found[name]),
        other_workloads=tuple(each.key() for name in OTHER_WORKLOADS for each in found[name]),
        pods=tuple(workload_objects.pod(each, owners) for each in found["pods"]),
    )


def _with_routing(view: ClusterView, found: Objects, seen: set[str]) -> ClusterView:
    pools = (
        *map(routing_objects.pool, found["inferencepools"]),
        *map(routing_objects.legacy_pool, found["older inferencepools"]),
    )
    users = (
        routing_objects.pool_user(each, kind.resource.kind, kind.resource.name, group)
        for name, (kind, group) in POOL_USERS.items()
        for each in found[name]
    )
    slices = found["endpointslices"] if "endpointslices" in seen else None
    texts = (
        *map(routing_objects.rule_text, found["prometheusrules"]),
        *map(routing_objects.dashboard_text, found["dashboards"]),
    )
    return replace(
        view,
        pools=pools,
        pool_users=tuple(users),
        services=routing_objects.services(found["services"], slices),
        routes=tuple(map(routing_objects.route, found["httproutes"])),
        controllers=routing_objects.controllers(found["gateways"], found["gatewayclasses"]),
        tls_policies=tuple(map(routing_objects.tls_policy, found["backendtlspolicies"])),
        texts=tuple(each for each in texts if each.names),
    )


async def value_of_pool(client: Cluster, pool: ObjectKey, group: str, metric: str) -> float | None:
    """The value of a metric of a pool, as an HPA is told; None where nothing answers it."""
    place = f"namespaces/{pool.namespace}/inferencepools.{group}/{pool.name}/{metric}"
    try:
        found = Json(await client.get(f"/apis/{CUSTOM_GROUP}/v1beta2/{place}"))
    except KubeError:
        return None
    values = [each.at("value").milli() for each in found.at("items").items()]
    return values[0] / 1000 if len(values) == 1 and values[0] is not None else None
