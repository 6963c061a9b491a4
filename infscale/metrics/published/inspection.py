"""A snapshot as a document for people: every value with its age, and what both deciders make of it.

It is made in steps, between which the caller can let others in: a pool of a thousand endpoints takes many milliseconds.
"""

import math
from typing import Final

import numpy as np

from infscale.metrics.gauges import GAUGES
from infscale.metrics.published.answers import group_reading, models
from infscale.metrics.published.catalogue import BY_NAME
from infscale.metrics.published.gpu_readers import GPU
from infscale.metrics.published.window_readers import QueueLatency, Unknown
from infscale.metrics.queried import Queried
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import PoolSnapshot
from infscale.stepwise import Steps, result_of

Plain = str | float | bool | None | list["Plain"] | dict[str, "Plain"]

POOL_VALUES: Final = (
    "queue_latency_p90_seconds",
    "waiting_requests",
    "running_requests",
    "in_flight_requests",
    "queued_requests",
    "queue_wait_p90_seconds",
    "kv_cache_utilization_ratio",
    "saturation_ratio",
    "time_to_first_token_p90_seconds",
    "gpu_memory_used_ratio",
    "requests_without_endpoint",
)
"""The published metrics that are shown of a whole pool, as an HPA that asks for the pool is told them."""
MODEL_VALUES: Final = tuple(name for name in POOL_VALUES if BY_NAME[name].per_model)
"""Those that are shown of each model, too."""
MAX_MODELS: Final = 50
"""Models of a pool that are shown."""

_QUEUE_LATENCY: Final = "queue_latency_p90_seconds"
_OF_BASE_MODEL: Final = "engines count the requests of a LoRA adapter as those of its base model"
_ROWS_AT_ONCE: Final = 20
"""About as many as a millisecond writes."""


def snapshot_document(snapshot: PoolSnapshot, now: float) -> dict[str, Plain]:
    """The whole of `snapshot` at `now`; unknown values are null, ages are seconds."""
    return result_of(snapshot_steps(snapshot, now))


def snapshot_steps(snapshot: PoolSnapshot, now: float) -> Steps[dict[str, Plain]]:
    """The document of `snapshot_document`, made in steps."""
    saturation, saturated = snapshot.saturation(now), snapshot.saturated(now)
    fresh, eligible = snapshot.fresh(now), snapshot.eligible(now)
    gpu_fresh = GPU.fresh(snapshot, now)
    settings = snapshot.state.settings
    queue_latency = _queue_latency(snapshot, now)
    rows: list[Plain] = []
    for row in range(len(snapshot)):
        if row % _ROWS_AT_ONCE == 0:
            yield
        document = _observed(snapshot, row, now)
        document |= {
            "in_flight_requests": float(snapshot.in_flight_requests[row]),
            "in_flight_tokens": float(snapshot.in_flight_tokens[row]),
            _QUEUE_LATENCY: _value(queue_latency, row),
            "saturation_ratio": _value(saturation, row),
            "saturated": bool(saturated[row]),
            "fresh": bool(fresh[row]),
            "gpu_fresh": bool(gpu_fresh[row]),
            "eligible": bool(eligible[row]),
        }
        rows.append(document)
    values: dict[str, Plain] = {}
    for name in POOL_VALUES:
        yield
        values[name] = _reading(name, snapshot, now)
    # With the LoRA adapters, of which the picker knows what is in flight.
    known = sorted(model for model in models(BY_NAME["in_flight_requests"], snapshot) if model is not None)
    served = models(BY_NAME[_QUEUE_LATENCY], snapshot)
    by_model: dict[str, Plain] = {}
    for model in known[:MAX_MODELS]:
        yield
        by_model[model] = {
            name: _reading(name, snapshot, now, model)
            if model in served or BY_NAME[name].by_requested_model
            else {"value": None, "age_seconds": None, "cause": _OF_BASE_MODEL}
            for name in MODEL_VALUES
        }
    return {
        "pool": str(snapshot.pool),
        "revision": snapshot.revision,
        "staleness_limit_seconds": settings.staleness_limit_seconds,
        "window_seconds": settings.window_seconds,
        "in_flight_models": {
            model: {"requests": requests, "tokens": tokens}
            for model, (requests, tokens) in snapshot.in_flight_models.items()
        },
        "queried": {name: _queried(said, now) for name, said in snapshot.queried.items()},
        "values": values,
        "by_model": by_model,
        "models_left_out": len(known) - len(by_model),
        "endpoints": rows,
    }


def _queried(said: Queried, now: float) -> Plain:
    """What a configured query said: values with their ages, and why there are no newer ones."""
    readings = {str(pod): each for pod, each in said.pods.items()}
    readings |= {"" if model is None else model: each for model, each in said.parts.items()}
    values: dict[str, Plain] = {
        name: {"value": each.value, "age_seconds": each.age(now)} for name, each in readings.items()
    }
    return {"values": values, "last_failure": said.failure}


def _queue_latency(snapshot: PoolSnapshot, now: float) -> FloatArray:
    """That of each endpoint, NaN where it is unknown or what it is made of is stale."""
    return np.where(snapshot.fresh(now), QueueLatency("p90").read(snapshot, now, None), math.nan)


def _reading(name: str, snapshot: PoolSnapshot, now: float, model: str | None = None) -> dict[str, Plain]:
    """What is answered for a pool or for one model of it; `cause` says why there is no value."""
    reading = group_reading(BY_NAME[name], snapshot, now, model)
    if isinstance(reading, Unknown):
        return {"value": None, "age_seconds": reading.age_seconds, "cause": reading.reason}
    return {"value": reading.value, "age_seconds": max(0.0, now - reading.at), "cause": None}


def _observed(snapshot: PoolSnapshot, row: int, now: float) -> dict[str, Plain]:
    endpoint, columns = snapshot.endpoints[row], snapshot.columns
    failure, lora, health = columns.failures[row], columns.lora[row], columns.health[row]
    return {
        "endpoint": str(endpoint.key),
        "authority": endpoint.authority,
        "phase": endpoint.phase.value,
        "asleep": bool(columns.asleep[row]),
        "age_seconds": _age(columns.observed_at, row, now),
        "gpu_age_seconds": _age(columns.gpu_observed_at, row, now),
        **{gauge.published: _value(column, row) for gauge, column in zip(GAUGES, columns.of_gauges, strict=True)},
        "models": list(columns.models[row]),
        "model_loads": {
            model: {"waiting_requests": load.waiting, "running_requests": load.running}
            for model, load in columns.models[row].items()
        },
        "lora": None
        if lora is None
        else {
            "running": [*sorted(lora.running)],
            "waiting": [*sorted(lora.waiting)],
            "loaded": [*sorted(lora.loaded)],
            "max_adapters": lora.max_adapters,
        },
        "listed_models": [*sorted(columns.listed[row])],
        "list_age_seconds": _age(columns.listed_at, row, now),
        "health": None
        if health is None
        else {
            "serving": health.serving,
            "names": [*sorted(health.names)],
            "age_seconds": _age(columns.health_at, row, now),
            "good_seconds": health.good_seconds,
        },
        "step_model": _step_model(snapshot, row),
        "refused": dict(columns.refused[row]),
        "last_failure": None
        if failure is None
        else {"cause": failure.cause, "age_seconds": now - failure.at, "consecutive": failure.consecutive},
    }


def _step_model(snapshot: PoolSnapshot, row: int) -> dict[str, Plain]:
    """The model of the engine's steps, and what it is made of or why there is none."""
    steps = snapshot.columns.steps
    return {
        "base_seconds": _value(steps.base, row),
        "prefill_token_seconds": _value(steps.per_prefill_token, row),
        "kv_token_seconds": _value(steps.per_kv_token, row),
        "sequence_seconds": _value(steps.per_sequence, row),
        "error_ratio": _value(steps.error, row),
        "usable": bool(steps.usable[row]),
        "source": snapshot.columns.step_sources[row],
    }


def _value(column: FloatArray, row: int) -> float | None:
    value = float(column[row])
    return None if math.isnan(value) else value


def _age(column: FloatArray, row: int, now: float) -> float | None:
    at = float(column[row])
    return max(0.0, now - at) if math.isfinite(at) else None
