"""The first look: is all well, and which pool is not."""

from dashboards.promql import POOL, POOL_OR_NONE, highest, quantile, rate, whole
from dashboards.rows import Board, Colour, Kind, Panel, Query, Section, Threshold, Unit, Variable

_FULL = (Threshold(0.8, Colour.WARNING), Threshold(1.0, Colour.BAD))

_NOW = Section(
    "Now",
    (
        Panel(
            "Pools",
            "Pools that infscale follows.",
            Unit.COUNT,
            (Query(f"count({highest('infscale_pool_endpoints', POOL, 'pool')})", "pools"),),
            kind=Kind.NUMBER,
            width=4,
            height=4,
        ),
        Panel(
            "Ready endpoints",
            "Endpoints that are ready, in all pools.",
            Unit.COUNT,
            (Query(f"sum({highest('infscale_pool_ready_endpoints', POOL, 'pool')})", "ready"),),
            kind=Kind.NUMBER,
            width=4,
            height=4,
            thresholds=(Threshold(1, Colour.GOOD),),
            base=Colour.BAD,
        ),
        Panel(
            "Endpoints without fresh data",
            "Ready endpoints whose last observation is older than the staleness limit. From half of a pool on, "
            "HPAs get "
            "no answers for it.",
            Unit.COUNT,
            (
                Query(
                    f"sum({highest('infscale_pool_ready_endpoints', POOL, 'pool')}"
                    f" - {highest('infscale_pool_fresh_endpoints', POOL, 'pool')})",
                    "stale",
                ),
            ),
            kind=Kind.NUMBER,
            width=4,
            height=4,
            thresholds=(Threshold(1, Colour.WARNING),),
        ),
        Panel(
            "Saturated endpoints",
            "Endpoints that are known to be full.",
            Unit.COUNT,
            (Query(f"sum({highest('infscale_pool_saturated_endpoints', POOL, 'pool')})", "saturated"),),
            kind=Kind.NUMBER,
            width=4,
            height=4,
            thresholds=(Threshold(1, Colour.WARNING),),
        ),
        Panel(
            "Requests",
            "Requests that the pickers sent to endpoints.",
            Unit.REQUESTS,
            (Query(f"sum({rate('infscale_picker_picks_total', POOL, 'pool')})", "requests"),),
            kind=Kind.NUMBER,
            width=4,
            height=4,
        ),
        Panel(
            "Refused requests",
            "Requests that the pickers refused, for whatever reason. The picker board has the reasons.",
            Unit.REQUESTS,
            (Query(f"sum({rate('infscale_picker_rejections_total', POOL_OR_NONE, 'pool')})", "refused"),),
            kind=Kind.NUMBER,
            width=4,
            height=4,
            thresholds=(Threshold(0.01, Colour.WARNING),),
            only_on_faults=True,
        ),
    ),
)
_POOLS = Section(
    "Pools",
    (
        Panel(
            "Requests by pool",
            "Requests that the pickers sent to endpoints of the pool.",
            Unit.REQUESTS,
            (Query(rate("infscale_picker_picks_total", POOL, "pool"), "{{pool}}"),),
        ),
        Panel(
            "Saturation",
            "Share of the pool's capacity in use, by its saturation settings. 1 is full: picker and HPA see the "
            "same number.",
            Unit.RATIO,
            (Query(highest("infscale_pool_saturation_ratio", POOL, "pool"), "{{pool}}"),),
            thresholds=_FULL,
            whole=True,
        ),
        Panel(
            "Time to first token, p90",
            "Nine of ten requests had their first token within this time. Of a pool with several models: the "
            "slowest one's.",
            Unit.SECONDS,
            (Query(highest("infscale_pool_time_to_first_token_p90_seconds", POOL, "pool"), "{{pool}}"),),
        ),
        Panel(
            "Waiting requests",
            "Requests queued in the engines of the pool.",
            Unit.COUNT,
            (Query(whole("infscale_pool_waiting_requests"), "{{pool}}"),),
        ),
        Panel(
            "KV cache in use",
            "Share of the KV-cache blocks in use, mean over the pool's endpoints.",
            Unit.RATIO,
            (Query(highest("infscale_pool_kv_cache_utilization_ratio", POOL, "pool"), "{{pool}}"),),
            thresholds=_FULL,
            whole=True,
        ),
        Panel(
            "Endpoints",
            "Endpoints of all pools that are ready, and those among them with fresh data. Where the two differ, "
            "scrapes fail.",
            Unit.COUNT,
            (
                Query(highest("infscale_pool_ready_endpoints", POOL, "pool"), "{{pool}} ready"),
                Query(highest("infscale_pool_fresh_endpoints", POOL, "pool"), "{{pool}} fresh"),
            ),
        ),
    ),
)
_OWN = Section(
    "infscale itself",
    (
        Panel(
            "Time of decisions",
            "Time from a request that was read to the decision where it goes.",
            Unit.SECONDS,
            (
                Query(quantile(0.5, "infscale_picker_decision_seconds"), "p50"),
                Query(quantile(0.99, "infscale_picker_decision_seconds"), "p99"),
            ),
            width=6,
            thresholds=(Threshold(0.05, Colour.WARNING),),
        ),
        Panel(
            "Failed scrapes",
            "Share of the scrapes of model servers that gave nothing.",
            Unit.RATIO,
            (
                Query(
                    "sum(rate(infscale_scrape_failures_total[$__rate_interval])) / "
                    "sum(rate(infscale_scrapes_total[$__rate_interval]))",
                    "failed",
                ),
            ),
            width=6,
            thresholds=(Threshold(0.05, Colour.WARNING),),
            whole=True,
        ),
        Panel(
            "CPU",
            "Cores in use by the main process, which decides and answers; scraping processes are not in it.",
            Unit.COUNT,
            (
                Query(
                    "rate(process_cpu_seconds_total[$__rate_interval]) and on (instance) infscale_build_info",
                    "{{instance}}",
                ),
            ),
            width=6,
        ),
        Panel(
            "Memory",
            "Resident memory of the main process.",
            Unit.BYTES,
            (Query("process_resident_memory_bytes and on (instance) infscale_build_info", "{{instance}}"),),
            width=6,
        ),
    ),
)

OVERVIEW = Board(
    "overview",
    "Overview",
    "Is all well, and which pool is not.",
    (Variable.NAMESPACE, Variable.POOL),
    (_NOW, _POOLS, _OWN),
)
