"""Series that alerts use, and that are good for objectives of one's own."""

from dashboards.alerting.rule import Recording

RECORDINGS: tuple[Recording, ...] = (
    Recording(
        "pool:infscale_picker_picks:rate5m",
        "sum by (pool) (rate(infscale_picker_picks_total[5m]))",
        "requests per second that were sent to endpoints of the pool",
    ),
    Recording(
        "pool:infscale_picker_rejections:rate5m",
        'sum by (pool) (rate(infscale_picker_rejections_total{status=~"429|5.."}[5m]))',
        "requests per second that were refused because the pool could not take them: neither the client's "
        "mistakes nor 404",
    ),
    Recording(
        "pool:infscale_picker_rejections:ratio_rate5m",
        "pool:infscale_picker_rejections:rate5m"
        " / (pool:infscale_picker_rejections:rate5m + (pool:infscale_picker_picks:rate5m or "
        "pool:infscale_picker_rejections:rate5m * 0))",
        "share of the pool's requests that were refused because it could not take them",
    ),
    Recording(
        "pool:infscale_picker_responses_5xx:ratio_rate5m",
        'sum by (pool) (rate(infscale_picker_responses_total{status="5xx"}[5m]))'
        " / sum by (pool) (rate(infscale_picker_responses_total[5m]))",
        "share of the pool's answers that are errors of model servers",
    ),
    Recording(
        "pool:infscale_fresh_endpoints:ratio",
        "max by (pool) (infscale_pool_fresh_endpoints) / (max by (pool) (infscale_pool_ready_endpoints) > 0)",
        "share of the pool's ready endpoints that have fresh data",
    ),
    Recording(
        "endpoint:infscale_scrape_failures:ratio_rate5m",
        "sum by (endpoint) (rate(infscale_scrape_failures_total[5m])) / sum by (endpoint) "
        "(rate(infscale_scrapes_total[5m]))",
        "share of the scrapes of the endpoint's page that gave nothing",
    ),
    Recording(
        "infscale:picker_decision_seconds:p99_rate5m",
        "histogram_quantile(0.99, sum by (le) (rate(infscale_picker_decision_seconds_bucket[5m])))",
        "99th percentile of the time of decisions",
    ),
    Recording(
        "kind:infscale_adapter_errors:ratio_rate5m",
        'sum by (kind) (rate(infscale_adapter_requests_total{kind=~"custom|external",status=~"5.."}[5m]))'
        ' / sum by (kind) (rate(infscale_adapter_requests_total{kind=~"custom|external"}[5m]))',
        "share of HPAs' questions that were answered with a 5xx",
    ),
)
"""In the order in which they are computed: one may use those before it."""
