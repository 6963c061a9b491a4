"""What of infscale is in the cluster, how it is configured, and who may do what it takes to read metrics."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from adapter.access.reviews import REVIEW_NEEDS
from adapter.access.trust_watch import TRUST_NEEDS
from adapter.api.paths import CUSTOM_GROUP, EXTERNAL_GROUP
from adapter.registering.api_services import ownership_needs
from adapter.registering.issuing import Subject
from adapter.registering.ownership import API_SERVICES, API_SERVICES_PATH
from adapter.registering.registration import registration_needs
from infscale.config.read import read_config
from infscale.config.settings import DEFAULT_SERVICE, ServeConfig
from infscale.doctor.reading import api_objects, workload_objects
from infscale.doctor.reading.asking import Asking
from infscale.doctor.reading.held_requests import holds_requests
from infscale.doctor.reading.listed_metrics import metrics_of_rules
from infscale.doctor.view.cluster_view import SeenInfscale
from infscale.doctor.view.seen_apis import HPA_ACCOUNT, RESOURCE_METRICS, SeenApiService, SeenRight
from infscale.doctor.view.seen_scalers import SeenAutoscaler
from infscale.doctor.view.seen_workloads import SeenWorkload
from infscale.documents.strict_document import load
from infscale.errors import ConfigError
from infscale.kube.api.errors import KubeError, NotFound
from infscale.kube.api.resources import DEPLOYMENTS
from infscale.kube.rights import Right

_MAX_CONFIG = 1024 * 1024
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_HPA_NEEDS: Mapping[str, Right] = {
    "Pods": Right("get", CUSTOM_GROUP, "*"),
    "Object": Right("get", CUSTOM_GROUP, "*"),
    "External": Right("list", EXTERNAL_GROUP, "*"),
    "Resource": Right("list", "metrics.k8s.io", "pods"),
    "ContainerResource": Right("list", "metrics.k8s.io", "pods"),
}


async def api_services(asking: Asking) -> tuple[SeenApiService, ...]:
    """The APIServices of the metrics APIs."""
    found: list[SeenApiService] = []
    for name in (*API_SERVICES, RESOURCE_METRICS):
        try:
            found.append(api_objects.api_service(name, await asking.get(f"{API_SERVICES_PATH}/{name}")))
        except NotFound:
            continue
        except KubeError as error:
            asking.unseen["apiservices"] = str(error)
            return ()
    asking.seen.add("apiservices")
    return tuple(found)


async def infscale(asking: Asking, config: ServeConfig | None) -> tuple[SeenInfscale, ServeConfig | None]:
    """infscale as it is in the cluster, and its configuration, None where that is not known.

    `config` is that of a given file, None: what its Deployment has.
    """
    service = DEFAULT_SERVICE if config is None else config.adapter.service
    try:
        found = await asking.get(f"/api/v1/namespaces/{service.namespace}/services/{service.name}")
    except KubeError as error:
        if not isinstance(error, NotFound):
            asking.unseen["infscale"] = str(error)
        return await _configured(SeenInfscale(service), config), config
    selector = found.at("spec", "selector").texts()
    workload = await _workload_behind(asking, service.namespace, selector) if selector else None
    name = "infscale" if workload is None else workload.account
    seen = SeenInfscale(
        service,
        installed=True,
        account=f"system:serviceaccount:{service.namespace}:{name}",
        workload=None if workload is None else workload.key,
    )
    if config is None and workload is not None:
        return await _with_its_own(asking, seen, workload)
    return await _configured(seen, config), config


async def _workload_behind(asking: Asking, namespace: str, selector: Mapping[str, str]) -> SeenWorkload | None:
    try:
        items = await asking.pages(DEPLOYMENTS.path(namespace))
    except KubeError:
        return None
    found = (workload_objects.workload(each, "Deployment") for each in items)
    return next((each for each in found if selector.items() <= each.pod_labels.items()), None)


async def _with_its_own(
    asking: Asking, seen: SeenInfscale, workload: SeenWorkload
) -> tuple[SeenInfscale, ServeConfig | None]:
    """infscale with the configuration in the ConfigMaps of its Deployment."""
    maps = {name: await _texts(asking, workload.key.namespace, name) for name in workload.config_maps}
    files = {key: text for texts in maps.values() for key, text in texts.items()}
    for name, texts in maps.items():
        for key, text in texts.items():
            with suppress(ConfigError):
                config = read_config(load(text, f"{name}/{key}"), Path("/"))
                return await _configured(replace(seen, config_map=name), config, files), config
    return seen, None


async def _texts(asking: Asking, namespace: str, config_map: str) -> Mapping[str, str]:
    """The files of a ConfigMap."""
    try:
        found = (await asking.get(f"/api/v1/namespaces/{namespace}/configmaps/{config_map}")).at("data")
    except KubeError as error:
        asking.unseen["infscale's configuration"] = str(error)
        return {}
    return {key: str(text.value)[:_MAX_CONFIG] for key, text in found.entries()}


async def _configured(
    seen: SeenInfscale, config: ServeConfig | None, files: Mapping[str, str] | None = None
) -> SeenInfscale:
    """infscale with what its configuration says, whose other files are `files`; None: they are on this machine."""
    if config is None:
        return seen
    queries = (each.name for each in config.prometheus.queries)
    of_rules = await asyncio.to_thread(metrics_of_rules, config, files)
    holds = await asyncio.to_thread(holds_requests, config, files)
    return replace(
        seen,
        metrics=(*(each.name for each in config.metrics), *queries, *of_rules),
        interval_seconds=config.scrape.interval_seconds,
        staleness_seconds=config.scrape.staleness_limit_seconds,
        destinations=config.picker.destinations,
        forwards=config.adapter.forward is not None,
        holds=holds,
    )


def adapter_needs(seen: SeenInfscale, config: ServeConfig | None) -> frozenset[Right]:
    """What the adapter of an installed infscale has to be allowed; of an unknown configuration what it always has."""
    subject = Subject(seen.service.name, seen.service.namespace)
    issues = config is not None and config.adapter.tls is None
    return REVIEW_NEEDS | TRUST_NEEDS | ownership_needs(subject) | registration_needs(subject, issues=issues)


async def rights(
    asking: Asking, autoscalers: tuple[SeenAutoscaler, ...], seen: SeenInfscale, infscale_needs: frozenset[Right]
) -> tuple[SeenRight, ...]:
    """Whether the HPA controller may read what HPAs ask for, and infscale do what it has to."""
    asked = {_HPA_NEEDS[each.form] for one in autoscalers for each in one.metrics if each.form in _HPA_NEEDS}
    wanted = [(HPA_ACCOUNT, right) for right in sorted(asked, key=str)]
    if seen.installed:
        wanted += [(seen.account, right) for right in sorted(infscale_needs, key=str)]
    found: dict[tuple[str, Right], bool] = {}

    async def ask(user: str, right: Right) -> None:
        try:
            found[user, right] = await _may(asking, user, right)
        except KubeError as error:
            asking.unseen["rights"] = str(error)

    async with asyncio.TaskGroup() as tasks:
        for user, right in wanted:
            tasks.create_task(ask(user, right))
    if "rights" not in asking.unseen:
        asking.seen.add("rights")
    return tuple(SeenRight(user, right, found[user, right]) for user, right in wanted if (user, right) in found)


async def _may(asking: Asking, user: str, right: Right) -> bool:
    resource, _, subresource = right.resource.partition("/")
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "name": right.name or "",
        "namespace": right.namespace or "",
    }
    namespace = user.split(":")[2]
    groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
    spec = {"user": user, "groups": groups, "resourceAttributes": attributes}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    answer = await asking.review(_REVIEWS, review)
    return answer.at("status", "allowed").truth()
