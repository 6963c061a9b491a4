"""Single endpoints: which one is different, how fast it is, and how old what is known of it is."""

from dashboards.promql import ENDPOINT as OF_ENDPOINT
from dashboards.promql import POOL, highest, rate, total
from dashboards.rows import Board, Colour, Panel, Query, Section, Threshold, Unit, Variable

_PAGES = 'endpoint=~"$endpoint"'
"""Counts of pages know no pool."""
_FULL = (Threshold(0.8, Colour.WARNING), Threshold(1.0, Colour.BAD))


def _of_each(metric: str) -> tuple[Query, ...]:
    return (Query(highest(f"infscale_endpoint_{metric}", OF_ENDPOINT, "endpoint"), "{{endpoint}}"),)


_LOAD = Section(
    "Load",
    (
        Panel(
            "Waiting requests", "Requests queued in the endpoint's engine.", Unit.COUNT, _of_each("waiting_requests")
        ),
        Panel(
            "Running requests",
            "Requests in the running batch of the endpoint's engine.",
            Unit.COUNT,
            _of_each("running_requests"),
        ),
        Panel(
            "Saturation",
            "Share of the endpoint's capacity in use; from 1 on the picker avoids it.",
            Unit.RATIO,
            _of_each("saturation_ratio"),
            thresholds=_FULL,
            whole=True,
        ),
        Panel(
            "KV cache in use",
            "Share of the endpoint's KV-cache blocks in use.",
            Unit.RATIO,
            _of_each("kv_cache_utilization_ratio"),
            thresholds=_FULL,
            whole=True,
        ),
        Panel(
            "KV cache in use: tokens",
            "Tokens that the endpoint's KV-cache blocks in use have room for.",
            Unit.COUNT,
            _of_each("kv_cache_used_tokens"),
        ),
        Panel(
            "Model load time",
            "From the start of the endpoint's container until its pod was Ready.",
            Unit.SECONDS,
            _of_each("model_load_seconds"),
        ),
    ),
)
_ROUTING = Section(
    "Routing",
    (
        Panel(
            "Requests sent to it",
            "Requests that the pickers sent to the endpoint. Endpoints of equal servers should get about the same.",
            Unit.REQUESTS,
            (Query(rate("infscale_picker_picks_total", OF_ENDPOINT, "endpoint"), "{{endpoint}}"),),
        ),
        Panel(
            "In flight: requests",
            "Requests that the pickers sent to the endpoint and that have not ended.",
            Unit.COUNT,
            (Query(total("infscale_endpoint_in_flight_requests", OF_ENDPOINT, "endpoint"), "{{endpoint}}"),),
        ),
        Panel(
            "In flight: tokens",
            "Work of the requests in flight at the endpoint: prompt tokens that are not cached, and expected "
            "output tokens.",
            Unit.COUNT,
            (Query(total("infscale_endpoint_in_flight_tokens", OF_ENDPOINT, "endpoint"), "{{endpoint}}"),),
        ),
    ),
)
_MODELS = Section(
    "Latency model",
    (
        Panel(
            "Predicted time to first token",
            "Of a prompt of 1,000 uncached tokens that comes now, by the latency model of the endpoint. Unknown until "
            "the model is learnt, while it is too wrong, and while requests wait and the engine does not say how long "
            "their prompts are.",
            Unit.SECONDS,
            _of_each("predicted_time_to_first_token_seconds"),
        ),
        Panel(
            "Predicted time between tokens",
            "By the latency model of the endpoint, for its batch of the moment. An endpoint that stays above others "
            "with the same load has slower hardware.",
            Unit.SECONDS,
            _of_each("predicted_time_per_output_token_seconds"),
        ),
        Panel(
            "Error of the latency model",
            "Relative error of what the model predicted of late. Above 0.4 nothing is predicted by it, and the picker "
            "takes the median of the pool's models instead.",
            Unit.RATIO,
            _of_each("latency_model_error_ratio"),
            thresholds=(Threshold(0.4, Colour.WARNING),),
        ),
    ),
)
_SCRAPES = Section(
    "What is known of it",
    (
        Panel(
            "Age of the last observation",
            "From the pool's staleness limit on, values of the endpoint are unknown, not old.",
            Unit.SECONDS,
            _of_each("age_seconds"),
            width=6,
            thresholds=(Threshold(2.0, Colour.WARNING),),
        ),
        Panel(
            "Failed scrapes",
            "Share of the scrapes of the endpoint's page that gave nothing.",
            Unit.RATIO,
            (
                Query(
                    f"{rate('infscale_scrape_failures_total', _PAGES, 'endpoint')}"
                    f" / {rate('infscale_scrapes_total', _PAGES, 'endpoint')}",
                    "{{endpoint}}",
                ),
            ),
            width=6,
            thresholds=(Threshold(0.05, Colour.WARNING),),
            whole=True,
        ),
        Panel(
            "Duration of scrapes",
            "Time that the last scrape took. It rises where a server is busy with its own requests.",
            Unit.SECONDS,
            (Query(highest("infscale_scrape_duration_seconds", _PAGES, "endpoint"), "{{endpoint}}"),),
            width=6,
        ),
        Panel(
            "Size of pages",
            "Size of the last page of metrics.",
            Unit.BYTES,
            (Query(highest("infscale_scrape_page_bytes", _PAGES, "endpoint"), "{{endpoint}}"),),
            width=6,
        ),
    ),
)
_HEALTH = Section(
    "What servers say of themselves (gRPC health)",
    (
        Panel(
            "Servers that take no requests",
            "Endpoints of the pool whose servers say so. They are sent nothing, and do not count as ready.",
            Unit.COUNT,
            (Query(highest("infscale_pool_not_serving_endpoints", POOL, "pool"), "{{pool}}"),),
            thresholds=(Threshold(1, Colour.WARNING),),
        ),
        Panel(
            "Failed questions",
            "Share of the rounds of questions to a server that gave nothing.",
            Unit.RATIO,
            (
                Query(
                    f"{rate('infscale_grpc_health_round_failures_total', _PAGES, 'endpoint')}"
                    f" / {rate('infscale_grpc_health_rounds_total', _PAGES, 'endpoint')}",
                    "{{endpoint}}",
                ),
            ),
            thresholds=(Threshold(0.05, Colour.WARNING),),
            whole=True,
        ),
        Panel(
            "Duration of questions",
            "Time that the last round of questions to a server took.",
            Unit.SECONDS,
            (Query(highest("infscale_grpc_health_round_duration_seconds", _PAGES, "endpoint"), "{{endpoint}}"),),
        ),
    ),
)

ENDPOINT = Board(
    "endpoint",
    "Endpoint",
    "Which endpoint is different, and how old what is known of it is.",
    (Variable.NAMESPACE, Variable.POOL, Variable.ENDPOINT),
    (_LOAD, _ROUTING, _MODELS, _SCRAPES, _HEALTH),
)
