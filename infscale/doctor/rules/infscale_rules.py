"""Faults of infscale's own configuration, where that can be seen."""

from collections.abc import Iterator

from infscale.doctor.rules import fixes
from infscale.doctor.rules.rule import Found, Subject
from infscale.doctor.view.cluster_view import ClusterView
from infscale.endpoint import ObjectKey

SYNC_SECONDS = 15.0
"""How often the HPA controller looks, unless a flag of kube-controller-manager says otherwise."""


def long_staleness(view: ClusterView) -> Iterator[Found]:
    """Values that are answered for longer than the controller takes from one look to the next."""
    limit = view.infscale.staleness_seconds
    if limit is not None and limit > SYNC_SECONDS:
        cause = (
            f"a value counts as fresh for {limit:g} s, and the HPA looks every {SYNC_SECONDS:g} s: it acts twice on "
            "one observation, and late on a dead pod"
        )
        fix = setting_fix(view, "staleness_limit_seconds", "10")
        yield Found(_subject(view), "scrape.staleness_limit_seconds", cause, fix)


def long_interval(view: ClusterView) -> Iterator[Found]:
    """Scrapes that are rarer than the controller's looks."""
    interval = view.infscale.interval_seconds
    if interval is not None and interval > SYNC_SECONDS / 2:
        cause = f"pages are read every {interval:g} s, and the HPA looks every {SYNC_SECONDS:g} s: bursts are seen late"
        yield Found(_subject(view), "scrape.interval_seconds", cause, setting_fix(view, "interval_seconds", "0.5"))


def setting_fix(view: ClusterView, key: str, value: str) -> str:
    """Change a number in infscale's configuration and start it anew; a given file is the user's to change."""
    own = view.infscale
    if own.workload is None or own.config_map is None:
        return f"sed -i -E 's/\\b{key}: *[0-9.]+/{key}: {value}/' serve.yaml"
    place = ObjectKey(own.workload.namespace, own.config_map)
    return f"{fixes.substitute('configmap', place, key, value)} && {fixes.restart(own.workload)}"


def _subject(view: ClusterView) -> Subject:
    own = view.infscale
    if own.workload is None or own.config_map is None:
        return Subject("Configuration", ObjectKey("", "serve.yaml"))
    return Subject("ConfigMap", ObjectKey(own.workload.namespace, own.config_map))
