"""GPUs, as their exporters tell of them."""

from dashboards.promql import ENDPOINT, POOL, highest, rate
from dashboards.rows import Board, Colour, Panel, Query, Section, Threshold, Unit, Variable

_EXPORTER = ("exporter",)
_POOLS = Section(
    "Pools",
    (
        Panel(
            "Busy",
            "Share of time the GPUs were busy, mean over the pool.",
            Unit.RATIO,
            (Query(highest("infscale_pool_gpu_utilization_ratio", POOL, "pool"), "{{pool}}"),),
            whole=True,
        ),
        Panel(
            "Memory in use",
            "Share of GPU memory in use. Engines reserve most of it when they start: it is no sign of load.",
            Unit.RATIO,
            (Query(highest("infscale_pool_gpu_memory_used_ratio", POOL, "pool"), "{{pool}}"),),
            whole=True,
        ),
        Panel(
            "Memory",
            "GPU memory in use and installed.",
            Unit.BYTES,
            (
                Query(highest("infscale_pool_gpu_memory_used_bytes", POOL, "pool"), "{{pool}} in use"),
                Query(highest("infscale_pool_gpu_memory_total_bytes", POOL, "pool"), "{{pool}} installed"),
            ),
        ),
    ),
)
_ENDPOINTS = Section(
    "Endpoints",
    (
        Panel(
            "Busy",
            "Share of time that the endpoint's GPUs were busy.",
            Unit.RATIO,
            (Query(highest("infscale_endpoint_gpu_utilization_ratio", ENDPOINT, "endpoint"), "{{endpoint}}"),),
            whole=True,
        ),
        Panel(
            "Memory in use",
            "GPU memory in use by the endpoint.",
            Unit.BYTES,
            (Query(highest("infscale_endpoint_gpu_memory_used_bytes", ENDPOINT, "endpoint"), "{{endpoint}}"),),
        ),
        Panel(
            "Memory installed",
            "GPU memory that the endpoint has.",
            Unit.BYTES,
            (Query(highest("infscale_endpoint_gpu_memory_total_bytes", ENDPOINT, "endpoint"), "{{endpoint}}"),),
        ),
    ),
)
_EXPORTERS = Section(
    "Exporters",
    (
        Panel(
            "Failed scrapes",
            "Share of the scrapes of an exporter's page that gave nothing.",
            Unit.RATIO,
            (
                Query(
                    f"{rate('infscale_exporter_scrape_failures_total', '', *_EXPORTER)}"
                    f" / {rate('infscale_exporter_scrapes_total', '', *_EXPORTER)}",
                    "{{exporter}}",
                ),
            ),
            thresholds=(Threshold(0.05, Colour.WARNING),),
            whole=True,
        ),
        Panel(
            "Duration of scrapes",
            "Time that the last scrape of an exporter's page took.",
            Unit.SECONDS,
            (Query(highest("infscale_exporter_scrape_duration_seconds", "", *_EXPORTER), "{{exporter}}"),),
        ),
        Panel(
            "Size of pages",
            "Size of the last page of an exporter.",
            Unit.BYTES,
            (Query(highest("infscale_exporter_scrape_page_bytes", "", *_EXPORTER), "{{exporter}}"),),
        ),
    ),
)

GPU = Board(
    "gpu",
    "GPU",
    "Memory and utilisation of GPUs, by pool and endpoint.",
    (Variable.NAMESPACE, Variable.POOL, Variable.ENDPOINT),
    (_POOLS, _ENDPOINTS, _EXPORTERS),
)
