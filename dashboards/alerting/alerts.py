"""What people should be told of. Each has a section of its name in docs/runbooks.md."""

from dashboards.alerting.rule import Alert, Severity

ALERTS: tuple[Alert, ...] = (
    Alert(
        "InfscaleAbsent",
        "absent(infscale_build_info)",
        "5m",
        Severity.CRITICAL,
        "Prometheus sees no infscale",
        "No process of infscale has been scraped for 5 minutes: it does not run, or Prometheus does not find it.",
        "overview",
    ),
    Alert(
        "InfscalePoolWithoutReadyEndpoint",
        "max by (pool) (infscale_pool_endpoints) > 0 and max by (pool) (infscale_pool_ready_endpoints) == 0",
        "5m",
        Severity.CRITICAL,
        "Pool {{ $labels.pool }} has no ready endpoint",
        "The pool has {{ $value }} endpoints, and none has been ready for 5 minutes: its requests are refused.",
        "pool",
    ),
    Alert(
        "InfscaleRequestsWithoutEndpoint",
        "sum by (pool) (infscale_pool_requests_without_endpoint) > 0",
        "10m",
        Severity.CRITICAL,
        "Pool {{ $labels.pool }} is asked and has no endpoint",
        "Requests have come for 10 minutes while no endpoint was ready: nothing scales the pool from zero, or its "
        "pods do not become ready.",
        "scaling",
    ),
    Alert(
        "InfscaleEndpointsStale",
        "pool:infscale_fresh_endpoints:ratio < 0.5",
        "2m",
        Severity.CRITICAL,
        "Most endpoints of pool {{ $labels.pool }} have no fresh data",
        "Only {{ $value | humanizePercentage }} of the ready endpoints have fresh data. HPAs of the pool get 503 "
        "and hold "
        "their replicas.",
        "endpoint",
    ),
    Alert(
        "InfscalePoolLoadUnknown",
        "max by (pool) (infscale_pool_unknown_load) == 1",
        "2m",
        Severity.CRITICAL,
        "The load of pool {{ $labels.pool }} is unknown",
        "The pool has ready endpoints and the load of none is known. Requests go by what is in flight, or are refused "
        "(picker.unknown_load).",
        "pool",
    ),
    Alert(
        "InfscaleScrapesFail",
        "endpoint:infscale_scrape_failures:ratio_rate5m > 0.5",
        "10m",
        Severity.WARNING,
        "The page of endpoint {{ $labels.endpoint }} cannot be scraped",
        "{{ $value | humanizePercentage }} of the scrapes of its page have given nothing.",
        "endpoint",
    ),
    Alert(
        "InfscaleExporterScrapesFail",
        "sum by (exporter) (rate(infscale_exporter_scrape_failures_total[5m]))"
        " / sum by (exporter) (rate(infscale_exporter_scrapes_total[5m])) > 0.5",
        "10m",
        Severity.WARNING,
        "The GPU exporter {{ $labels.exporter }} cannot be scraped",
        "{{ $value | humanizePercentage }} of the scrapes of its page have given nothing: GPU metrics of its "
        "node are unknown.",
        "gpu",
    ),
    Alert(
        "InfscaleNodeAgentScrapesFail",
        "sum by (agent) (rate(infscale_node_agent_scrape_failures_total[5m]))"
        " / sum by (agent) (rate(infscale_node_agent_scrapes_total[5m])) > 0.5",
        "10m",
        Severity.WARNING,
        "The node agent {{ $labels.agent }} cannot be scraped",
        "{{ $value | humanizePercentage }} of the scrapes of its page have given nothing: GPU metrics of its "
        "node are unknown.",
        "gpu",
    ),
    Alert(
        "InfscaleServersNotServing",
        "max by (pool) (infscale_pool_not_serving_endpoints) > 0",
        "10m",
        Severity.WARNING,
        "Servers of pool {{ $labels.pool }} say that they take no requests",
        "{{ $value }} endpoints have said so over gRPC for 10 minutes: they get no requests, and hold their GPUs.",
        "endpoint",
    ),
    Alert(
        "InfscalePoolSaturated",
        "max by (pool) (infscale_pool_saturation_ratio) >= 1",
        "10m",
        Severity.WARNING,
        "Pool {{ $labels.pool }} is full",
        "Its saturation has been at least 1 for 10 minutes, now {{ $value | humanize }}: more replicas do not "
        "come, or are "
        "not allowed.",
        "scaling",
    ),
    Alert(
        "InfscaleQueueLatencyHigh",
        "max by (pool, model) (infscale_pool_queue_latency_p90_seconds) > 10",
        "10m",
        Severity.WARNING,
        "Requests of pool {{ $labels.pool }} wait long",
        "One of ten requests has waited more than {{ $value | humanizeDuration }} for its first step, for 10 minutes.",
        "pool",
    ),
    Alert(
        "InfscaleRequestsHeldLong",
        "max by (pool, model) (infscale_pool_queue_wait_p90_seconds) > 30",
        "10m",
        Severity.WARNING,
        "Requests of pool {{ $labels.pool }} wait long in the picker",
        "One of ten requests has waited more than {{ $value | humanizeDuration }} in the picker, for 10 minutes.",
        "picker",
    ),
    Alert(
        "InfscaleRequestsRefused",
        "pool:infscale_picker_rejections:ratio_rate5m > 0.05",
        "5m",
        Severity.CRITICAL,
        "Requests of pool {{ $labels.pool }} are refused",
        "{{ $value | humanizePercentage }} of the requests are refused because the pool cannot take them.",
        "picker",
    ),
    Alert(
        "InfscaleModelServerErrors",
        "pool:infscale_picker_responses_5xx:ratio_rate5m > 0.05",
        "5m",
        Severity.CRITICAL,
        "Model servers of pool {{ $labels.pool }} answer with errors",
        "{{ $value | humanizePercentage }} of their answers have a status of 5xx.",
        "pool",
    ),
    Alert(
        "InfscaleDecisionsSlow",
        "infscale:picker_decision_seconds:p99_rate5m > 0.05",
        "10m",
        Severity.WARNING,
        "The picker decides slowly",
        "One of a hundred decisions takes more than {{ $value | humanizeDuration }}.",
        "picker",
    ),
    Alert(
        "InfscaleGatewaysLimited",
        'sum by (limit) (rate(infscale_picker_limits_total{limit!="loop_turn"}[5m])) > 0',
        "10m",
        Severity.WARNING,
        "A limit of the picker's port acts: {{ $labels.limit }}",
        "The limit {{ $labels.limit }} has acted for 10 minutes, {{ $value | humanize }} times a second.",
        "picker",
    ),
    Alert(
        "InfscaleConfigurationRefused",
        "min by (instance) (infscale_picker_config_last_reload_success) == 0",
        "2m",
        Severity.WARNING,
        "The picker's configuration file was refused",
        "Its last change is not in force on {{ $labels.instance }}; the one before is.",
        "picker",
    ),
    Alert(
        "InfscaleDiscoveryRefused",
        "sum by (instance) (increase(infscale_discovery_refusals_total[15m])) > 0",
        "1m",
        Severity.WARNING,
        "A discovery file or an object of the cluster was refused",
        "{{ $labels.instance }} refused {{ $value | humanize }} versions in 15 minutes; what it knew before "
        "stays in force.",
        "overview",
    ),
    Alert(
        "InfscaleWatchDisconnected",
        "max by (instance, watch) (infscale_watch_disconnected_seconds) > 60",
        "1m",
        Severity.WARNING,
        "infscale does not see changes of {{ $labels.watch }}",
        "The watch has been without its API server for {{ $value | humanizeDuration }}: pods that come and go "
        "are not seen.",
        "overview",
    ),
    Alert(
        "InfscaleAdapterErrors",
        "kind:infscale_adapter_errors:ratio_rate5m > 0.1",
        "10m",
        Severity.WARNING,
        "HPAs get errors instead of {{ $labels.kind }} metrics",
        "{{ $value | humanizePercentage }} of their questions are answered with 5xx: these HPAs hold their replicas.",
        "scaling",
    ),
    Alert(
        "InfscaleQueriesFail",
        "sum by (query) (rate(infscale_query_run_failures_total[5m]))"
        " / sum by (query) (rate(infscale_query_runs_total[5m])) > 0.5",
        "10m",
        Severity.WARNING,
        "The query {{ $labels.query }} of a Prometheus fails",
        "{{ $value | humanizePercentage }} of its runs have given nothing: its metric becomes unknown.",
        "scaling",
    ),
    Alert(
        "InfscaleRulesNotDiscovered",
        "sum by (rule) (rate(infscale_rule_discovery_run_failures_total[15m]))"
        " / sum by (rule) (rate(infscale_rule_discovery_runs_total[15m])) > 0.5",
        "10m",
        Severity.WARNING,
        "The series of {{ $labels.rule }} of prometheus-adapter's configuration are not found out",
        "{{ $value | humanizePercentage }} of the tries have failed: metrics of new series are not served.",
        "scaling",
    ),
    Alert(
        "InfscaleRuleQueriesFail",
        # An evaluation that works sends two queries, one that fails one: a third is half of the evaluations.
        "sum by (instance) (rate(infscale_rule_query_failures_total[5m]))"
        " / sum by (instance) (rate(infscale_rule_queries_total[5m])) > 0.33",
        "10m",
        Severity.WARNING,
        "Evaluations of prometheus-adapter's rules fail",
        "More than half of the evaluations of {{ $labels.instance }} have failed: HPAs that ask for these metrics "
        "hold their replicas.",
        "scaling",
    ),
    Alert(
        "InfscaleRuleQuestionsRefused",
        "sum by (instance) (increase(infscale_rule_questions_refused_total[15m])) > 0",
        "1m",
        Severity.WARNING,
        "There is no room for more questions to prometheus-adapter's rules",
        "{{ $labels.instance }} refused {{ $value | humanize }} questions of HPAs in 15 minutes.",
        "scaling",
    ),
    Alert(
        "InfscaleKedaCallsFail",
        'sum by (method) (rate(infscale_keda_calls_total{status!~"OK|CANCELLED"}[5m]))'
        " / sum by (method) (rate(infscale_keda_calls_total[5m])) > 0.1",
        "10m",
        Severity.WARNING,
        "KEDA gets errors from {{ $labels.method }}",
        "{{ $value | humanizePercentage }} of its calls fail: ScaledObjects hold their replicas, or act by "
        "their fallback.",
        "scaling",
    ),
    Alert(
        "InfscaleOtherMetricsLost",
        "max(infscale_adapter_other_metrics_lost) == 1",
        "5m",
        Severity.WARNING,
        "HPAs ask the wrong adapter for metrics",
        "HPAs ask infscale for custom metrics of another adapter, or the reverse, and do not find them.",
        "scaling",
    ),
    Alert(
        "InfscaleScrapingProcessesReplaced",
        "sum by (instance) (increase(infscale_scrape_processes_replaced_total[30m])) > 3",
        "1m",
        Severity.WARNING,
        "Scraping processes of infscale end again and again",
        "{{ $labels.instance }} has replaced {{ $value | humanize }} scraping processes in 30 minutes.",
        "overview",
    ),
)
"""In the order of the runbooks."""
