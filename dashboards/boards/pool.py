"""One pool or some: traffic, queues, latencies, capacity."""

from dashboards.promql import POOL as OF_POOL
from dashboards.promql import highest, rate, total, whole
from dashboards.rows import Board, Colour, Kind, Panel, Query, Section, Threshold, Unit, Variable

_FULL = (Threshold(0.8, Colour.WARNING), Threshold(1.0, Colour.BAD))

_TRAFFIC = Section(
    "Traffic",
    (
        Panel(
            "Requests",
            "Requests that the pickers sent to endpoints of the pool.",
            Unit.REQUESTS,
            (Query(rate("infscale_picker_picks_total", OF_POOL, "pool"), "{{pool}}"),),
        ),
        Panel(
            "Ends of requests",
            "How requests that were sent to an endpoint ended: completed, aborted by the client, or with an error.",
            Unit.REQUESTS,
            (Query(rate("infscale_picker_exchanges_total", OF_POOL, "pool", "outcome"), "{{pool}} {{outcome}}"),),
            kind=Kind.STACK,
        ),
        Panel(
            "Answers by status",
            "Answers of endpoints, by the class of their HTTP status. 5xx are the model servers' own errors.",
            Unit.REQUESTS,
            (Query(rate("infscale_picker_responses_total", OF_POOL, "pool", "status"), "{{pool}} {{status}}"),),
            kind=Kind.STACK,
        ),
        Panel(
            "Refusals by reason",
            "Requests that the picker refused instead of naming an endpoint.",
            Unit.REQUESTS,
            (Query(rate("infscale_picker_rejections_total", OF_POOL, "pool", "reason"), "{{pool}} {{reason}}"),),
            kind=Kind.STACK,
            only_on_faults=True,
        ),
        Panel(
            "Tokens",
            "Prompt tokens processed and tokens generated per second, as the engines count them.",
            Unit.PER_SECOND,
            (
                Query(whole("infscale_pool_prompt_tokens_per_second"), "{{pool}} prompt"),
                Query(whole("infscale_pool_generation_tokens_per_second"), "{{pool}} generated"),
            ),
        ),
        Panel(
            "Finished requests",
            "Requests that the engines finished per second.",
            Unit.REQUESTS,
            (Query(whole("infscale_pool_requests_finished_per_second"), "{{pool}}"),),
        ),
    ),
)
_WAITING = Section(
    "Waiting",
    (
        Panel(
            "Waiting and running requests",
            "Requests queued in the engines, and those in their running batches.",
            Unit.COUNT,
            (
                Query(whole("infscale_pool_waiting_requests"), "{{pool}} waiting"),
                Query(whole("infscale_pool_running_requests"), "{{pool}} running"),
            ),
        ),
        Panel(
            "Waiting requests over the window",
            "Mean and maximum over the pool's window: what a scrape of a moment does not show.",
            Unit.COUNT,
            (
                Query(highest("infscale_pool_waiting_requests_average", OF_POOL, "pool"), "{{pool}} mean"),
                Query(highest("infscale_pool_waiting_requests_maximum", OF_POOL, "pool"), "{{pool}} maximum"),
            ),
        ),
        Panel(
            "Queue latency",
            "Wait for the first step: the larger of the engines' queue time and of waiting requests by the rate "
            "at which they "
            "leave the queue. It also rises where nothing leaves it.",
            Unit.SECONDS,
            (
                Query(highest("infscale_pool_queue_latency_p50_seconds", OF_POOL, "pool"), "{{pool}} p50"),
                Query(highest("infscale_pool_queue_latency_p90_seconds", OF_POOL, "pool"), "{{pool}} p90"),
                Query(highest("infscale_pool_queue_latency_p99_seconds", OF_POOL, "pool"), "{{pool}} p99"),
            ),
        ),
    ),
)
_LATENCIES = Section(
    "Latencies",
    (
        Panel(
            "Time to first token",
            "From the arrival of a request at the engine to its first token. Of several models: the slowest one's.",
            Unit.SECONDS,
            tuple(
                Query(highest(f"infscale_pool_time_to_first_token_{q}_seconds", OF_POOL, "pool"), f"{{{{pool}}}} {q}")
                for q in ("p50", "p90", "p99")
            ),
            width=12,
        ),
        Panel(
            "Time between tokens",
            "Time between output tokens. Of several models: the slowest one's.",
            Unit.SECONDS,
            tuple(
                Query(highest(f"infscale_pool_inter_token_latency_{q}_seconds", OF_POOL, "pool"), f"{{{{pool}}}} {q}")
                for q in ("p50", "p90", "p99")
            ),
            width=12,
        ),
    ),
)
_MODELS = Section(
    "Latency models",
    (
        Panel(
            "Predicted time to first token",
            "Of a prompt of 1,000 uncached tokens that comes now, by the latency models; mean over endpoints. Unknown "
            "where requests wait and engines do not say how long their prompts are.",
            Unit.SECONDS,
            (Query(highest("infscale_pool_predicted_time_to_first_token_seconds", OF_POOL, "pool"), "{{pool}}"),),
        ),
        Panel(
            "Time between tokens: predicted and measured",
            "By the latency models, for the batches of the moment without prompts beside them, mean over endpoints; "
            "and the median that the engines measured.",
            Unit.SECONDS,
            (
                Query(
                    highest("infscale_pool_predicted_time_per_output_token_seconds", OF_POOL, "pool"),
                    "{{pool}} predicted",
                ),
                Query(highest("infscale_pool_inter_token_latency_p50_seconds", OF_POOL, "pool"), "{{pool}} measured"),
            ),
        ),
        Panel(
            "Error of the latency models",
            "Relative error of what the models predicted of late, mean over endpoints. Above 0.4 the model of an "
            "endpoint predicts nothing.",
            Unit.RATIO,
            (Query(highest("infscale_pool_latency_model_error_ratio", OF_POOL, "pool"), "{{pool}}"),),
            thresholds=(Threshold(0.4, Colour.WARNING),),
        ),
    ),
)
_CAPACITY = Section(
    "Capacity",
    (
        Panel(
            "Saturation",
            "Share of capacity in use by the pool's saturation settings. 1 is full.",
            Unit.RATIO,
            (Query(highest("infscale_pool_saturation_ratio", OF_POOL, "pool"), "{{pool}}"),),
            thresholds=_FULL,
            whole=True,
        ),
        Panel(
            "KV cache in use",
            "Share of KV-cache blocks in use, mean over endpoints.",
            Unit.RATIO,
            (Query(highest("infscale_pool_kv_cache_utilization_ratio", OF_POOL, "pool"), "{{pool}}"),),
            thresholds=_FULL,
            whole=True,
        ),
        Panel(
            "Endpoints",
            "Endpoints by state. Fresh ones are ready and have data younger than the staleness limit.",
            Unit.COUNT,
            (
                Query(highest("infscale_pool_endpoints", OF_POOL, "pool"), "{{pool}} all"),
                Query(highest("infscale_pool_ready_endpoints", OF_POOL, "pool"), "{{pool}} ready"),
                Query(highest("infscale_pool_fresh_endpoints", OF_POOL, "pool"), "{{pool}} fresh"),
                Query(highest("infscale_pool_saturated_endpoints", OF_POOL, "pool"), "{{pool}} saturated"),
                Query(highest("infscale_pool_asleep_endpoints", OF_POOL, "pool"), "{{pool}} asleep"),
            ),
        ),
        Panel(
            "In flight: requests",
            "Requests that pickers dispatched and that have not ended.",
            Unit.COUNT,
            (Query(total("infscale_pool_in_flight_requests", OF_POOL, "pool"), "{{pool}}"),),
        ),
        Panel(
            "In flight: tokens",
            "Work of the requests in flight: prompt tokens that are not cached, and expected output tokens.",
            Unit.COUNT,
            (Query(total("infscale_pool_in_flight_tokens", OF_POOL, "pool"), "{{pool}}"),),
        ),
        Panel(
            "Waiting in the picker: requests",
            "Requests that wait in pickers until an endpoint can begin them. Nothing where requests do not wait.",
            Unit.COUNT,
            (Query(total("infscale_pool_queued_requests", OF_POOL, "pool"), "{{pool}}"),),
        ),
        Panel(
            "Waiting in the picker: p90",
            "Wait in the picker: waits that ended in the window, and those that go on, so far.",
            Unit.SECONDS,
            (Query(highest("infscale_pool_queue_wait_p90_seconds", OF_POOL, "pool"), "{{pool}}"),),
        ),
        Panel(
            "Waiting in the picker: refused",
            "Requests that were refused while they waited in pickers, or because they may not wait.",
            Unit.REQUESTS,
            (Query(total("infscale_pool_queue_refusals_per_second", OF_POOL, "pool"), "{{pool}}"),),
        ),
        Panel(
            "Requests without an endpoint",
            "Requests that came over the window, or wait, while no endpoint was ready. This is what scales a "
            "pool from zero.",
            Unit.COUNT,
            (Query(total("infscale_pool_requests_without_endpoint", OF_POOL, "pool"), "{{pool}}"),),
            thresholds=(Threshold(1, Colour.WARNING),),
        ),
    ),
)

POOL = Board(
    "pool",
    "Pool",
    "Traffic, queues, latencies and capacity of pools.",
    (Variable.NAMESPACE, Variable.POOL),
    (_TRAFFIC, _WAITING, _LATENCIES, _MODELS, _CAPACITY),
)
