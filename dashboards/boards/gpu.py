"""GPUs, as their exporters tell of them."""

from dashboards.promql import ENDPOINT, POOL, highest, rate
from dashboards.rows import Board, Colour, Panel, Query, Section, Threshold, Unit, Variable

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


def _scrapes(title: str, prefix: str, label: str, whose: str) -> Section:
    """How the scrapes of pages of GPU metrics go, which are `whose`."""
    legend = f"{{{{{label}}}}}"
    failed, begun = (rate(f"{prefix}_{what}_total", "", label) for what in ("scrape_failures", "scrapes"))
    return Section(
        title,
        (
            Panel(
                "Failed scrapes",
                f"Share of the scrapes of {whose} page that gave nothing.",
                Unit.RATIO,
                (Query(f"{failed} / {begun}", legend),),
                thresholds=(Threshold(0.05, Colour.WARNING),),
                whole=True,
            ),
            Panel(
                "Duration of scrapes",
                f"Time that the last scrape of {whose} page took.",
                Unit.SECONDS,
                (Query(highest(f"{prefix}_scrape_duration_seconds", "", label), legend),),
            ),
            Panel(
                "Size of pages",
                f"Size of {whose} last page.",
                Unit.BYTES,
                (Query(highest(f"{prefix}_scrape_page_bytes", "", label), legend),),
            ),
        ),
    )


_EXPORTERS = _scrapes("Exporters", "infscale_exporter", "exporter", "an exporter's")
_AGENTS = _scrapes("Node agents", "infscale_node_agent", "agent", "a node agent's")

GPU = Board(
    "gpu",
    "GPU",
    "Memory and utilisation of GPUs, by pool and endpoint.",
    (Variable.NAMESPACE, Variable.POOL, Variable.ENDPOINT),
    (_POOLS, _ENDPOINTS, _EXPORTERS, _AGENTS),
)
