"""The same by model: a pool may serve several, and LoRA adapters."""

from dashboards.promql import MODEL as OF_MODEL
from dashboards.promql import highest, total
from dashboards.rows import Board, Panel, Query, Section, Unit, Variable

_BY = ("pool", "model")
_LEGEND = "{{pool}} {{model}}"


def _of_each(metric: str) -> tuple[Query, ...]:
    return (Query(highest(f"infscale_pool_{metric}", OF_MODEL, *_BY), _LEGEND),)


_WORK = Section(
    "Work",
    (
        Panel(
            "Waiting requests",
            "Requests of the model that are queued in engines.",
            Unit.COUNT,
            _of_each("waiting_requests"),
        ),
        Panel(
            "Running requests", "Requests of the model in running batches.", Unit.COUNT, _of_each("running_requests")
        ),
        Panel(
            "In flight",
            "Requests for the model that the pickers dispatched and that have not ended.",
            Unit.COUNT,
            (Query(total("infscale_pool_in_flight_requests", OF_MODEL, *_BY), _LEGEND),),
        ),
        Panel(
            "Finished requests",
            "Requests of the model that engines finished per second.",
            Unit.REQUESTS,
            _of_each("requests_finished_per_second"),
        ),
        Panel(
            "Prompt tokens",
            "Prompt tokens of the model that engines processed per second.",
            Unit.PER_SECOND,
            _of_each("prompt_tokens_per_second"),
        ),
        Panel(
            "Generated tokens",
            "Tokens of the model that engines generated per second.",
            Unit.PER_SECOND,
            _of_each("generation_tokens_per_second"),
        ),
    ),
)
_LATENCIES = Section(
    "Latencies",
    (
        Panel(
            "Queue latency, p90",
            "Nine of ten requests of the model waited at most so long for their first step.",
            Unit.SECONDS,
            _of_each("queue_latency_p90_seconds"),
        ),
        Panel(
            "Time to first token, p90",
            "Nine of ten requests of the model had their first token within this time.",
            Unit.SECONDS,
            _of_each("time_to_first_token_p90_seconds"),
        ),
        Panel(
            "Time between tokens, p90",
            "Nine of ten tokens of the model came within this time of the one before.",
            Unit.SECONDS,
            _of_each("inter_token_latency_p90_seconds"),
        ),
        Panel(
            "Time to first token, p50",
            "Half of the requests of the model had their first token within this time.",
            Unit.SECONDS,
            _of_each("time_to_first_token_p50_seconds"),
            width=12,
        ),
        Panel(
            "Time to first token, p99",
            "All but one of a hundred requests of the model had their first token within this time.",
            Unit.SECONDS,
            _of_each("time_to_first_token_p99_seconds"),
            width=12,
        ),
    ),
)

MODEL = Board(
    "model",
    "Model",
    "Queues, latencies and tokens by model.",
    (Variable.NAMESPACE, Variable.POOL, Variable.MODEL),
    (_WORK, _LATENCIES),
)
