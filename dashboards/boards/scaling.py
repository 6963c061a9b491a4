"""What HPAs saw, when and why: their answers, the values behind them, and what they decided."""

from dashboards.promql import POOL, highest, quantile, rate, total, whole
from dashboards.rows import Board, Colour, Kind, Panel, Query, Section, Threshold, Unit, Variable

_AUTOSCALERS = 'namespace=~"$namespace"'
_HPA = ("namespace", "horizontalpodautoscaler")
_OF_HPA = "{{namespace}}/{{horizontalpodautoscaler}}"
_ASKED = 'kind=~"custom|external"'
_ANSWERED = f'{_ASKED},status="200"'
_READY = highest("infscale_pool_ready_endpoints", POOL, "pool")


def _hpa(metric: str, *by: str, where: str = "") -> str:
    """Of kube-state-metrics, which tells what HPAs are and say of themselves."""
    matchers = ",".join(filter(None, (_AUTOSCALERS, where)))
    return highest(f"kube_horizontalpodautoscaler_{metric}", matchers, *_HPA, *by)


_DECISIONS = Section(
    "What HPAs decided (from kube-state-metrics)",
    (
        Panel(
            "Replicas",
            "Replicas there are, and replicas the HPA wants. They differ while pods start, and where something "
            "else scales "
            "the same workload.",
            Unit.COUNT,
            (
                Query(_hpa("status_current_replicas"), f"{_OF_HPA} current"),
                Query(_hpa("status_desired_replicas"), f"{_OF_HPA} desired"),
                Query(_hpa("spec_max_replicas"), f"{_OF_HPA} maximum"),
            ),
        ),
        Panel(
            "Metrics as share of their targets",
            "The ratio that an HPA multiplies its replicas by, for each metric; the largest wins. Within 10 % of "
            "1 it does "
            "nothing.",
            Unit.RATIO,
            (
                Query(
                    f"{_hpa('status_target_metric', 'metric_name', 'metric_target_type')}"
                    f" / {_hpa('spec_target_metric', 'metric_name', 'metric_target_type')}",
                    "{{horizontalpodautoscaler}} {{metric_name}}",
                ),
            ),
            thresholds=(Threshold(1.1, Colour.WARNING),),
            whole=True,
        ),
        Panel(
            "Scaling is active",
            "1 while the HPA gets all its metrics. At 0 it holds its replicas; its events say why, and the "
            "answers below.",
            Unit.COUNT,
            (
                Query(
                    _hpa("status_condition", where='condition="ScalingActive",status="true"'),
                    _OF_HPA,
                ),
            ),
            whole=True,
        ),
    ),
)
_ANSWERS = Section(
    "What HPAs were answered",
    (
        Panel(
            "Questions",
            "Requests for custom and external metrics, which come from HPAs, each 15 s for each metric unless "
            "configured.",
            Unit.REQUESTS,
            (Query(rate("infscale_adapter_requests_total", _ASKED, "kind", "status"), "{{kind}} {{status}}"),),
            kind=Kind.STACK,
        ),
        Panel(
            "Time of answers",
            "Answers come from memory; no question waits for a scrape.",
            Unit.SECONDS,
            (
                Query(quantile(0.5, "infscale_adapter_request_duration_seconds", _ASKED), "p50"),
                Query(quantile(0.99, "infscale_adapter_request_duration_seconds", _ASKED), "p99"),
            ),
        ),
        Panel(
            "Errors",
            "Share of the questions that were not answered with a value. With 503 and 404 the HPA holds its replicas.",
            Unit.RATIO,
            (
                Query(
                    f"1 - {rate('infscale_adapter_requests_total', _ANSWERED, 'kind')}"
                    f" / {rate('infscale_adapter_requests_total', _ASKED, 'kind')}",
                    "{{kind}}",
                ),
            ),
            thresholds=(Threshold(0.05, Colour.WARNING),),
            whole=True,
        ),
        Panel(
            "Owners of the metrics APIs",
            "Whose Service answers each version of the metrics APIs: infscale's, another's, or none.",
            Unit.COUNT,
            (
                Query(
                    highest("infscale_adapter_api_service_owner", "", "api_service", "owner"),
                    "{{api_service}}: {{owner}}",
                ),
            ),
            whole=True,
        ),
        Panel(
            "Other adapters' metrics",
            "Requests passed on to another adapter, by outcome, and 1 while HPAs do not find another adapter's "
            "metrics.",
            Unit.COUNT,
            (
                Query("max(infscale_adapter_other_metrics_lost)", "lost"),
                Query(rate("infscale_adapter_forwarded_requests_total", "", "outcome"), "passed on: {{outcome}}"),
            ),
            whole=True,
        ),
        Panel(
            "Connections",
            "Connections of the adapter, by whether a client certificate was verified.",
            Unit.COUNT,
            (Query(total("infscale_adapter_connections", "", "state"), "{{state}}"),),
        ),
    ),
)
_VALUES = Section(
    "The values behind it",
    (
        Panel(
            "Queue latency, p90",
            "The metric queue_latency_p90_seconds of the pool.",
            Unit.SECONDS,
            (Query(highest("infscale_pool_queue_latency_p90_seconds", POOL, "pool"), "{{pool}}"),),
        ),
        Panel(
            "Waiting requests for each ready endpoint",
            "What an AverageValue target of waiting_requests is compared with, where all endpoints are replicas.",
            Unit.COUNT,
            (Query(f"{whole('infscale_pool_waiting_requests')} / ({_READY} > 0)", "{{pool}}"),),
        ),
        Panel(
            "In flight for each ready endpoint",
            "What an AverageValue target of in_flight_requests is compared with.",
            Unit.COUNT,
            (Query(f"{total('infscale_pool_in_flight_requests', POOL, 'pool')} / ({_READY} > 0)", "{{pool}}"),),
        ),
        Panel(
            "Outstanding for each ready endpoint",
            "What an AverageValue target of outstanding_requests is compared with: in flight or waiting in the picker.",
            Unit.COUNT,
            (Query(f"{total('infscale_pool_outstanding_requests', POOL, 'pool')} / ({_READY} > 0)", "{{pool}}"),),
        ),
        Panel(
            "Waiting in the picker",
            "The metric queued_requests, by model. Unknown where requests do not wait there.",
            Unit.COUNT,
            (Query(total("infscale_pool_queued_requests", POOL, "pool", "model"), "{{pool}} {{model}}"),),
        ),
        Panel(
            "Wait in the picker, p90",
            "The metric queue_wait_p90_seconds: waits that ended in the window, and those that go on, so far.",
            Unit.SECONDS,
            (Query(highest("infscale_pool_queue_wait_p90_seconds", POOL, "pool", "model"), "{{pool}} {{model}}"),),
        ),
        Panel(
            "Saturation and KV cache",
            "The metrics saturation_ratio and kv_cache_utilization_ratio of the pool.",
            Unit.RATIO,
            (
                Query(highest("infscale_pool_saturation_ratio", POOL, "pool"), "{{pool}} saturation"),
                Query(highest("infscale_pool_kv_cache_utilization_ratio", POOL, "pool"), "{{pool}} KV cache"),
            ),
            whole=True,
        ),
        Panel(
            "From zero: requests without an endpoint",
            "Requests that came over the window, or wait, while no endpoint was ready.",
            Unit.COUNT,
            (Query(total("infscale_pool_requests_without_endpoint", POOL, "pool"), "{{pool}}"),),
            thresholds=(Threshold(1, Colour.WARNING),),
        ),
        Panel(
            "Model load time",
            "How long a new replica takes until it helps: from the start of the container until the pod is Ready.",
            Unit.SECONDS,
            (Query(highest("infscale_pool_model_load_seconds", POOL, "pool"), "{{pool}}"),),
        ),
    ),
)
_TRUST = Section(
    "Whether to believe them",
    (
        Panel(
            "Ready endpoints with fresh data",
            "Below half of a pool, its metrics are answered with 503, and the HPA holds its replicas.",
            Unit.RATIO,
            (
                Query(
                    f"{highest('infscale_pool_fresh_endpoints', POOL, 'pool')} / ({_READY} > 0)",
                    "{{pool}}",
                ),
            ),
            thresholds=(Threshold(0.5, Colour.WARNING), Threshold(1.0, Colour.GOOD)),
            base=Colour.BAD,
            whole=True,
        ),
        Panel(
            "Oldest observation",
            "Age of the oldest last observation among the pool's endpoints.",
            Unit.SECONDS,
            (Query(highest("infscale_endpoint_age_seconds", POOL, "pool"), "{{pool}}"),),
        ),
        Panel(
            "Load unknown",
            "1 while a pool has ready endpoints and the load of none is known.",
            Unit.COUNT,
            (Query(highest("infscale_pool_unknown_load", POOL, "pool"), "{{pool}}"),),
            thresholds=(Threshold(1, Colour.BAD),),
            whole=True,
        ),
    ),
)
_KEDA_POLLS = 'method=~"IsActive|GetMetricSpec|GetMetrics"'
_KEDA_ANSWERED = f'{_KEDA_POLLS},status="OK"'
_KEDA = Section(
    "What KEDA was answered",
    (
        Panel(
            "Calls of KEDA",
            "Calls that ended, by method and gRPC status. Streams end where a ScaledObject goes, or KEDA restarts.",
            Unit.REQUESTS,
            (Query(rate("infscale_keda_calls_total", "", "method", "status"), "{{method}} {{status}}"),),
            kind=Kind.STACK,
            width=6,
        ),
        Panel(
            "Failed calls of KEDA",
            "Share of its polls that were not answered: the ScaledObject holds its replicas, or acts by its fallback.",
            Unit.RATIO,
            (
                Query(
                    f"1 - {rate('infscale_keda_calls_total', _KEDA_ANSWERED, 'method')}"
                    f" / {rate('infscale_keda_calls_total', _KEDA_POLLS, 'method')}",
                    "{{method}}",
                ),
            ),
            width=6,
            thresholds=(Threshold(0.05, Colour.WARNING),),
            whole=True,
        ),
        Panel(
            "Streams of KEDA",
            "Open streams: one StreamIsActive for each trigger of type external-push. Without it nothing starts from "
            "zero at once.",
            Unit.COUNT,
            (Query(total("infscale_keda_streams", "", "method"), "{{method}}"),),
            width=6,
        ),
        Panel(
            "Messages to KEDA",
            "Messages on streams: a state that changed, or the state as a stream opens.",
            Unit.PER_SECOND,
            (Query(rate("infscale_keda_pushes_total", "", "method"), "{{method}}"),),
            width=6,
        ),
    ),
)
_QUERIES = Section(
    "Values from a Prometheus",
    (
        Panel(
            "Failed queries",
            "Share of the runs of a configured query that gave nothing. Its metric becomes unknown with age.",
            Unit.RATIO,
            (
                Query(
                    f"{rate('infscale_query_run_failures_total', '', 'query')}"
                    f" / {rate('infscale_query_runs_total', '', 'query')}",
                    "{{query}}",
                ),
            ),
            width=6,
            thresholds=(Threshold(0.05, Colour.WARNING),),
            whole=True,
        ),
        Panel(
            "Duration of queries",
            "Time that the last run of a configured query took, and the last discovery of a rule's series.",
            Unit.SECONDS,
            (
                Query(highest("infscale_query_run_duration_seconds", "", "query"), "{{query}}"),
                Query(highest("infscale_rule_discovery_run_duration_seconds", "", "rule"), "{{rule}}"),
            ),
            width=6,
        ),
        Panel(
            "Queries of rules",
            "Queries that rules of prometheus-adapter send, two for each evaluation, and evaluations and discoveries "
            "that failed.",
            Unit.PER_SECOND,
            (
                Query("sum(rate(infscale_rule_queries_total[$__rate_interval]))", "sent"),
                Query("sum(rate(infscale_rule_query_failures_total[$__rate_interval]))", "evaluations that failed"),
                Query(
                    "sum(rate(infscale_rule_discovery_run_failures_total[$__rate_interval]))",
                    "discoveries that failed",
                ),
            ),
            width=6,
        ),
        Panel(
            "Questions to rules",
            "Different questions of HPAs that are kept evaluated, and those that were refused in the last hour because "
            "there was no room.",
            Unit.COUNT,
            (
                Query("sum(infscale_rule_questions)", "evaluated"),
                Query("sum(increase(infscale_rule_questions_refused_total[1h]))", "refused in an hour"),
            ),
            width=6,
        ),
    ),
)

SCALING = Board(
    "scaling",
    "Scaling",
    "What HPAs saw, when and why.",
    (Variable.NAMESPACE, Variable.POOL),
    (_DECISIONS, _ANSWERS, _VALUES, _TRUST, _KEDA, _QUERIES),
)
