"""Old metric names in rules and dashboards."""

from collections.abc import Iterator

from infscale.doctor.metric_names import new_name
from infscale.doctor.rules import fixes
from infscale.doctor.rules.rule import Found, Subject
from infscale.doctor.view.cluster_view import ClusterView


def old_names_in_rules(view: ClusterView) -> Iterator[Found]:
    """Alerts and recordings that ask for what is not exported any more."""
    return _old_names(view, "PrometheusRule")


def old_names_in_dashboards(view: ClusterView) -> Iterator[Found]:
    """Panels that are empty."""
    return _old_names(view, "ConfigMap")


def _old_names(view: ClusterView, kind: str) -> Iterator[Found]:
    for text in view.texts:
        words = (name for found in text.names.values() for name in found)
        names = {name: today for name in words if (today := new_name(name)) is not None}
        if text.kind != kind or not names:
            continue
        old, today = next(iter(names.items()))
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        cause = f"it asks for {old}{more}, an old name; today it is {today}"
        place = next(iter(text.names))
        yield Found(Subject(kind, text.key), place, cause, fixes.rename(text.resource, text.key, names))
