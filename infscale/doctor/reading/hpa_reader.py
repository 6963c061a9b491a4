"""Asks what the HPA controller asks: the scale of each target, and each metric."""

import asyncio
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from infscale.doctor.reading import api_objects, workload_objects
from infscale.doctor.reading.asking import Asking
from infscale.doctor.reading.metric_answers import Question, items, question
from infscale.doctor.view.cluster_view import kinds_of
from infscale.doctor.view.seen_apis import Answer
from infscale.doctor.view.seen_scalers import ObjectRef, SeenAutoscaler, SeenMetric
from infscale.doctor.view.seen_workloads import SeenScale
from infscale.endpoint import ObjectKey
from infscale.kube.api.errors import KubeError, NotFound

Plurals = Mapping[tuple[str, str], str]
"""The resources of kinds, by apiVersion and kind."""

_ALWAYS = frozenset({"v1", "apps/v1"})


async def plurals(asking: Asking, autoscalers: Iterable[SeenAutoscaler], served: frozenset[str]) -> Plurals:
    """The resources of the kinds that HPAs name, of the API versions that are `served`."""
    wanted = set(_ALWAYS)
    for each in autoscalers:
        wanted |= {each.target.api_version, *(one.described.api_version for one in each.metrics if one.described)}
    found: dict[tuple[str, str], str] = {}
    for version in sorted(wanted & {*served, "v1"}):
        try:
            found.update(
                api_objects.plurals(await asking.get(f"/api/{version}" if version == "v1" else f"/apis/{version}"))
            )
        except KubeError as error:
            asking.unseen[kinds_of(version)] = str(error)
    return found


async def scales(
    asking: Asking, autoscalers: Iterable[SeenAutoscaler], plurals: Plurals
) -> Mapping[ObjectKey, SeenScale | None]:
    """The scale of each HPA's target, None where there is no such object; those that cannot be read are left out."""
    found: dict[ObjectKey, SeenScale | None] = {}

    async def ask(key: ObjectKey, target: ObjectRef) -> None:
        if kinds_of(target.api_version) in asking.unseen:
            return
        plural = plurals.get((target.api_version, target.kind))
        if plural is None:
            found[key] = None
            return
        root = "/api" if target.api_version == "v1" else "/apis"
        path = f"{root}/{target.api_version}/namespaces/{key.namespace}/{plural}/{quote(target.name, safe='')}/scale"
        try:
            found[key] = workload_objects.scale(await asking.get(path))
        except NotFound:
            found[key] = None
        except KubeError as error:
            asking.unseen[f"the scale of {target.kind} {key.namespace}/{target.name}"] = str(error)

    async with asyncio.TaskGroup() as tasks:
        for each in autoscalers:
            tasks.create_task(ask(each.key, each.target))
    return found


async def answers(
    asking: Asking,
    autoscalers: Iterable[SeenAutoscaler],
    scales: Mapping[ObjectKey, SeenScale | None],
    plurals: Plurals,
    version: str,
) -> Mapping[tuple[ObjectKey, int], Answer]:
    """What is answered to each metric of each HPA; `version` is the preferred one of the custom metrics."""
    found: dict[tuple[ObjectKey, int], Answer] = {}

    async def ask(autoscaler: SeenAutoscaler, metric: SeenMetric) -> None:
        scale = scales.get(autoscaler.key)
        selector = "" if scale is None else scale.selector
        asked = question(autoscaler.key.namespace, metric, selector, plurals, version)
        found[autoscaler.key, metric.index] = await _answer(asking, asked, metric)

    async with asyncio.TaskGroup() as tasks:
        for each in autoscalers:
            for metric in each.metrics:
                tasks.create_task(ask(each, metric))
    return found


async def _answer(asking: Asking, asked: Question | None, metric: SeenMetric) -> Answer:
    if asked is None:
        described = metric.described
        what = "its source type is not known" if described is None else no_kind(described)
        return Answer(None, (), what, "NoQuestion")
    try:
        return Answer(str(asked), items(await asking.get(asked.path, asked.params), metric))
    except KubeError as error:
        return Answer(str(asked), (), str(error), type(error).__name__)


def no_kind(described: ObjectRef) -> str:
    """The controller's words for a kind that the cluster does not have."""
    group, _, version = described.api_version.rpartition("/")
    return f'no matches for kind "{described.kind}" in version "{group}/{version}"'.replace('"/', '"')
