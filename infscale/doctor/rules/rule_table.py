"""Every rule, one row each. A code keeps its meaning; that of a rule that is gone is not given again.

D0xx rights and APIs, D1xx metrics of HPAs, D2xx HPAs as a whole, D3xx ScaledObjects, D4xx model servers, D5xx pools,
D6xx routes and gateways, D7xx rules and dashboards, D8xx infscale's configuration. docs/doctor.md explains them.
"""

from collections.abc import Iterable, Sequence

from infscale.discovery.workloads import WORKLOADS
from infscale.doctor.rules import (
    access_rules,
    conflict_rules,
    infscale_rules,
    keda_rules,
    metric_rules,
    pool_rules,
    route_rules,
    scaler_rules,
    target_rules,
    text_rules,
    workload_rules,
)
from infscale.doctor.rules.rule import Finding, Rule, Severity
from infscale.doctor.view.cluster_view import ClusterView

_E, _W = Severity.ERROR, Severity.WARNING
_PODS = ("pods", "replicasets")
_WORKLOADS = ("deployments", "statefulsets")
_OTHERS = tuple(each.plural for each in WORKLOADS if each.plural not in _WORKLOADS)
_POOLS = ("inferencepools", "older inferencepools")
_DECLARING = (*_POOLS, *_WORKLOADS, "services")
_ROUTES = ("httproutes",)

RULES: tuple[Rule, ...] = (
    Rule("D001", _E, "the HPA controller may not read metrics", ("rights",), access_rules.controller_rights),
    Rule("D002", _E, "infscale lacks rights", ("rights",), access_rules.infscale_rights),
    Rule("D003", _E, "a metrics API does not answer", ("apiservices",), access_rules.unavailable_apis),
    Rule("D004", _E, "a metrics API is not trusted", ("apiservices",), access_rules.untrusted_apis),
    Rule("D005", _W, "a metrics API is not verified", ("apiservices",), access_rules.unverified_apis),
    Rule("D006", _E, "two adapters, and one is never asked", ("apiservices",), access_rules.lost_metrics),
    Rule("D007", _E, "external metrics are another server's", ("apiservices",), access_rules.external_of_another),
    Rule("D008", _E, "nothing serves a metrics API", ("apiservices",), access_rules.absent_apis),
    Rule("D101", _E, "a metric that does not exist", (), metric_rules.unknown_metrics),
    Rule("D102", _E, "an old metric name", (), metric_rules.old_metrics),
    Rule("D103", _E, "a metric cannot be read", (), metric_rules.unreadable_metrics),
    Rule("D104", _E, "a target that the metric cannot exceed", (), target_rules.above_ceiling),
    Rule("D105", _W, "a target of saturation above 1", (), target_rules.above_saturation),
    Rule("D106", _E, "a target above the batch size", _WORKLOADS, target_rules.above_batch),
    Rule("D107", _W, "Value where AverageValue is meant", (), target_rules.value_for_load),
    Rule("D108", _E, "AverageValue where Value is meant", (), target_rules.average_for_level),
    Rule("D109", _E, "external values are added up", _POOLS, target_rules.summed_externals),
    Rule("D110", _E, "a described object of an unknown kind", (), metric_rules.wrong_kinds),
    Rule("D111", _E, "a described object that does not exist", _DECLARING, metric_rules.absent_objects),
    Rule("D112", _W, "stale values are answered", (), metric_rules.stale_answers),
    Rule("D201", _W, "the tolerance swallows steps", (), scaler_rules.swallowed_steps),
    Rule("D202", _E, "two HPAs for one workload", (), conflict_rules.several_autoscalers),
    Rule("D203", _E, "an HPA beside a ScaledObject", ("scaledobjects",), conflict_rules.beside_keda),
    Rule("D204", _W, "another scaler beside an HPA", (), conflict_rules.beside_others),
    Rule("D205", _E, "two HPAs count the same pods", _PODS, conflict_rules.ambiguous_selectors),
    Rule("D206", _W, "pods of others are counted", (*_PODS, *_WORKLOADS), conflict_rules.foreign_pods),
    Rule("D207", _E, "it scales to zero and not back", _POOLS, scaler_rules.zero_without_signal),
    Rule("D208", _E, "a target that does not exist", _WORKLOADS, scaler_rules.absent_targets),
    Rule("D209", _W, "a scaling direction is disabled", (), scaler_rules.disabled_directions),
    Rule("D210", _W, "it scales down too soon", (), scaler_rules.short_calm),
    Rule("D211", _E, "a utilisation target without a request", _WORKLOADS, scaler_rules.missing_requests),
    Rule("D212", _E, "what waits in the picker is not seen", _POOLS, scaler_rules.blind_to_the_queue),
    Rule("D301", _E, "a scaler address without a port", (), keda_rules.addresses_without_port),
    Rule("D302", _W, "no fallback", (), keda_rules.missing_fallback),
    Rule("D303", _E, "it scales to zero and not back", (), keda_rules.keda_zero_without_signal),
    Rule("D304", _E, "AverageValue where Value is meant", (), keda_rules.average_for_level),
    Rule("D305", _E, "what waits in the picker is not seen", (), keda_rules.keda_blind_to_the_queue),
    Rule("D401", _W, "pods are killed before they have ended", _WORKLOADS, workload_rules.short_grace),
    Rule("D402", _E, "no readiness probe", _WORKLOADS, workload_rules.missing_readiness),
    Rule("D403", _W, "no startup probe", _WORKLOADS, workload_rules.missing_startup),
    Rule("D404", _W, "streams are cut when a pod ends", _WORKLOADS, workload_rules.cut_streams),
    Rule("D405", _W, "streams are longer than pods have to end", (*_WORKLOADS, *_ROUTES), workload_rules.long_streams),
    Rule("D501", _E, "a pool selects nothing", (*_PODS, *_WORKLOADS, *_OTHERS), pool_rules.selecting_nothing),
    Rule("D502", _E, "no pod of a pool is Ready", _PODS, pool_rules.without_ready_pods),
    Rule("D503", _W, "a target port of no container", _WORKLOADS, pool_rules.wrong_ports),
    Rule("D504", _E, "the EPP has no such Service or port", ("services",), pool_rules.without_picker),
    Rule("D505", _E, "the EPP is not ready", ("services", "endpointslices"), pool_rules.picker_not_ready),
    Rule("D506", _W, "an object of a pool that does not exist", _POOLS, pool_rules.dangling_users),
    Rule("D601", _E, "two pools in one rule of a route", _ROUTES, route_rules.several_pools),
    Rule("D602", _W, "a pool and a Service in one rule", _ROUTES, route_rules.mixed_backends),
    Rule("D603", _E, "a route to a pool that does not exist", (*_ROUTES, *_POOLS), route_rules.absent_pools),
    Rule("D604", _W, "the gateway ignores fallbacks", _ROUTES, route_rules.ignored_fallbacks),
    Rule("D605", _W, "the gateway does not fail open", _ROUTES, route_rules.fail_open),
    Rule("D606", _W, "TLS to a picker that speaks in the clear", ("services",), route_rules.tls_to_plain_pickers),
    Rule("D701", _W, "an old metric name in a rule", ("prometheusrules",), text_rules.old_names_in_rules),
    Rule("D702", _W, "an old metric name in a dashboard", ("dashboards",), text_rules.old_names_in_dashboards),
    Rule("D801", _W, "values count as fresh for too long", (), infscale_rules.long_staleness),
    Rule("D802", _W, "pages are read too rarely", (), infscale_rules.long_interval),
)


def findings(view: ClusterView, rules: Iterable[Rule] = RULES) -> tuple[Finding, ...]:
    """What the rules find, errors first."""
    found = [
        Finding(rule.code, rule.severity, rule.title, each)
        for rule in rules
        if not unchecked_for(view, rule)
        for each in rule.check(view)
    ]
    return tuple(sorted(found, key=lambda each: (each.severity is not _E, each.code)))


def unchecked_for(view: ClusterView, rule: Rule) -> Sequence[str]:
    """The kinds that a rule needs and that could not be listed: what it says would not be known."""
    return [need for need in rule.needs if need in view.unseen]
