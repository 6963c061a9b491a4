"""Faults of single metrics of an HPA: their names, their described objects, and whether they are answered."""

from collections.abc import Iterator, Mapping

from infscale.discovery.objects import POOL_GROUP
from infscale.doctor.metric_names import new_name, published_name
from infscale.doctor.rules import fixes
from infscale.doctor.rules.rule import Found
from infscale.doctor.rules.target_rules import is_summed, metric_found, place_in
from infscale.doctor.view.cluster_view import ClusterView, kinds_of
from infscale.doctor.view.seen_apis import SeenApiService
from infscale.doctor.view.seen_scalers import ObjectRef, SeenAutoscaler, SeenMetric
from infscale.documents.suggestions import nearest
from infscale.endpoint import ObjectKey
from infscale.metrics.published.aliases import ALIASES
from infscale.metrics.published.catalogue import BY_NAME

_STALE_SECONDS = 60.0
_OWN = ("Pods", "Object", "External")
_POOL = "InferencePool"


def unknown_metrics(view: ClusterView) -> Iterator[Found]:
    """Names that the adapter does not know."""
    for autoscaler, metric in view.metrics():
        answer = view.answer(autoscaler, metric)
        if answer is None or answer.status != "NotFound" or not _is_unknown(view, metric):
            continue
        alias = ALIASES.get(metric.name)
        if alias is not None and alias.why is not None:
            # The target has to change with the name, to what only its owner knows.
            cause = f"no metric {metric.name} is served, because {alias.why}; infscale publishes {alias.metric}"
            fix = fixes.look(autoscaler.key, "edit", "hpa", autoscaler.key.name)
            yield metric_found(autoscaler, metric, "metric.name", cause, fix)
            continue
        known = [*BY_NAME, *view.infscale.metrics, *sorted(view.listed.get(metric.form, ()))]
        meant = published_name(metric.name) or next(iter(nearest(metric.name, known)), None)
        if meant is None:
            fix = fixes.raw(str(answer.path).partition("/namespaces/")[0])
            yield metric_found(autoscaler, metric, "metric.name", f"no metric {metric.name} is served", fix)
        else:
            cause = f"no metric {metric.name} is served; {meant} is"
            yield metric_found(autoscaler, metric, "metric.name", cause, _renamed(autoscaler, metric, meant))


def _is_unknown(view: ClusterView, metric: SeenMetric) -> bool:
    """Whether the name is what was not found; a described object or a label set is another rule's."""
    if metric.form not in _OWN or is_unserved(view, metric) or _is_old(view, metric) or _is_absent(view, metric):
        return False
    # A name that is listed is there, of other objects: those of a rule have the objects that their series name.
    return not _is_infscales(view, metric.name) and metric.name not in view.listed.get(metric.form, ())


def _is_infscales(view: ClusterView, name: str) -> bool:
    """Whether infscale answers a metric of that name: published, configured, or one that others call so."""
    alias = ALIASES.get(name)
    return name in BY_NAME or name in view.infscale.metrics or (alias is not None and alias.why is None)


def old_metrics(view: ClusterView) -> Iterator[Found]:
    """Old names."""
    for autoscaler, metric in view.metrics():
        today = new_name(metric.name)
        answer = view.answer(autoscaler, metric)
        if today is None or not _is_old(view, metric) or (answer is not None and answer.items):
            continue
        better = published_name(metric.name) if _is_answered_by_infscale(view, metric) else None
        cause = f"{metric.name} is an old name; today it is {better or today}"
        yield metric_found(autoscaler, metric, "metric.name", cause, _renamed(autoscaler, metric, better or today))


def _is_old(view: ClusterView, metric: SeenMetric) -> bool:
    """Whether the name is of before, and not one that infscale goes on answering."""
    if metric.form not in _OWN or new_name(metric.name) is None:
        return False
    return not (_is_answered_by_infscale(view, metric) and _is_infscales(view, metric.name))


def _is_answered_by_infscale(view: ClusterView, metric: SeenMetric) -> bool:
    found = _api(view, metric)
    return found is not None and found.service == view.infscale.service


def is_unserved(view: ClusterView, metric: SeenMetric) -> bool:
    """Whether no adapter at all serves the API that a metric is asked of."""
    return "apiservices" in view.seen and _api(view, metric) is None


def _api(view: ClusterView, metric: SeenMetric) -> SeenApiService | None:
    """The API that the controller asks for a metric."""
    match metric.form:
        case "External":
            return view.external_service()
        case "Pods" | "Object":
            return view.custom_service()
        case _:
            return view.resource_service()


def unreadable_metrics(view: ClusterView) -> Iterator[Found]:
    """Metrics without a value, for a reason that no other rule knows."""
    for autoscaler in view.autoscalers:
        for metric in autoscaler.metrics:
            answer = view.answer(autoscaler, metric)
            if answer is None or answer.path is None or answer.items or _is_explained(view, autoscaler, metric):
                continue
            problem = answer.problem or "an empty list was answered"
            cause = f"the controller cannot read {metric.name}: {_sentence(problem)}"
            yield metric_found(autoscaler, metric, "metric", cause, fixes.raw(answer.path))


def _is_explained(view: ClusterView, autoscaler: SeenAutoscaler, metric: SeenMetric) -> bool:
    answer = view.answer(autoscaler, metric)
    # This user may not read metrics; the controller may.
    if answer is None or answer.status == "Forbidden":
        return True
    if view.scales.get(autoscaler.key, True) is None or _is_absent(view, metric):
        return True
    down = [f"/{each.group}/" for each in view.api_services if not each.available]
    if any(group in (answer.path or "") for group in down) or asked_of_another(view, metric):
        return True
    if is_unserved(view, metric):
        return True
    unnamed = answer.status == "NotFound" and _is_unknown(view, metric)
    return unnamed or _is_old(view, metric) or is_summed(view, autoscaler, metric)


def asked_of_another(view: ClusterView, metric: SeenMetric) -> bool:
    """Whether it is an external metric of infscale that the cluster asks another server for."""
    api = view.external_service()
    if metric.form != "External" or api is None or api.service is None or not view.infscale.installed:
        return False
    return _is_infscales(view, metric.name) and api.service != view.infscale.service


def wrong_kinds(view: ClusterView) -> Iterator[Found]:
    """Described objects of an API group or version that the cluster does not have."""
    for autoscaler, metric in view.metrics():
        described = metric.described
        if metric.form != "Object" or described is None or not _has_no_kind(view, described):
            continue
        right = _right_version(view, autoscaler.key.namespace, described)
        cause = f"there is no kind {described.kind} in {described.api_version or 'v1'}"
        if right is None:
            cause += ", nor is a group known that has it"
            fix = fixes.look(ObjectKey("", ""), "api-resources")
        else:
            cause += f": it is in {right}"
            path = f"{place_in(metric)}/describedObject/apiVersion"
            fix = fixes.patch("hpa", autoscaler.key, [fixes.add(path, right)])
        yield metric_found(autoscaler, metric, "describedObject.apiVersion", cause, fix)


_VERSIONS: Mapping[str, str] = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "Service": "v1", "Namespace": "v1"}


def _right_version(view: ClusterView, namespace: str, described: ObjectRef) -> str | None:
    if described.kind == _POOL:
        pool = _pool_named(view, ObjectKey(namespace, described.name))
        return f"{POOL_GROUP}/v1" if pool is None else pool
    return _VERSIONS.get(described.kind)


def _pool_named(view: ClusterView, key: ObjectKey) -> str | None:
    found = [f"{each.group}/{each.version}" for each in view.every_pool if each.key == key]
    return min(found, key=lambda each: each != f"{POOL_GROUP}/v1", default=None)


def _has_no_kind(view: ClusterView, described: ObjectRef) -> bool:
    version = described.api_version or "v1"
    return bool(view.kinds) and kinds_of(version) not in view.unseen and (version, described.kind) not in view.kinds


def absent_objects(view: ClusterView) -> Iterator[Found]:
    """Described InferencePools and Services that there are none of."""
    for autoscaler, metric in view.metrics():
        described, answer = metric.described, view.answer(autoscaler, metric)
        if described is None or _has_no_kind(view, described) or not _is_absent(view, metric):
            continue
        if answer is not None and answer.items:
            continue
        namespace = autoscaler.key.namespace
        names = [each.key.name for each in view.every_pool if each.key.namespace == namespace]
        pool = view.pool_of(autoscaler)
        meant = pool.key.name if pool is not None else next(iter((*nearest(described.name, names), *names)), None)
        elsewhere = _pool_named(view, ObjectKey(namespace, described.name))
        path = f"{place_in(metric)}/describedObject"
        if elsewhere is not None:
            cause = f"InferencePool {described.name} is in {elsewhere}, not in {described.api_version}"
            fix = fixes.patch("hpa", autoscaler.key, [fixes.add(f"{path}/apiVersion", elsewhere)])
        elif meant is not None:
            cause = f"there is no {described}; there is {meant}"
            fix = fixes.patch("hpa", autoscaler.key, [fixes.replace(f"{path}/name", meant)])
        else:
            cause = f"there is no {described}"
            fix = fixes.look(autoscaler.key, "get", "inferencepools")
        yield metric_found(autoscaler, metric, "describedObject", cause, fix)


def _is_absent(view: ClusterView, metric: SeenMetric) -> bool:
    """Whether the described object is known not to be there."""
    described = metric.described
    if metric.form != "Object" or described is None:
        return False
    if _has_no_kind(view, described):
        return True
    if described.kind != _POOL:
        return False
    kind = "inferencepools" if described.group == POOL_GROUP else "older inferencepools"
    names = {(each.group, each.key.name) for each in view.every_pool}
    return kind in view.seen and (described.group, described.name) not in names


def stale_answers(view: ClusterView) -> Iterator[Found]:
    """Values that are old when they are answered: the controller takes them for new."""
    for autoscaler, metric in view.metrics():
        answer = view.answer(autoscaler, metric)
        times = [each.at for each in (() if answer is None else answer.items) if each.at is not None]
        if metric.form not in _OWN or not times or view.now - min(times) <= _STALE_SECONDS:
            continue
        age = round(view.now - min(times))
        cause = f"the adapter answered a value that is {age} s old, and the controller does not look at its time"
        api = _api(view, metric)
        service = None if api is None else api.service
        fix = fixes.look(ObjectKey("", ""), "get", "apiservices") if service is None else fixes.restart(service)
        yield metric_found(autoscaler, metric, "metric", cause, fix)


def _renamed(autoscaler: SeenAutoscaler, metric: SeenMetric, name: str) -> str:
    return fixes.patch("hpa", autoscaler.key, [fixes.replace(f"{place_in(metric)}/metric/name", name)])


def _sentence(text: str) -> str:
    return text if len(text) <= 300 else text[:300] + "…"
