"""A snapshot as a document for people: every value with its age, and what both deciders make of it."""

import math

from infscale.metrics.gauges import GAUGES
from infscale.metrics.queried import Queried
from infscale.metrics.sample import FloatArray
from infscale.metrics.snapshot import PoolSnapshot

Plain = str | float | bool | None | list["Plain"] | dict[str, "Plain"]


def snapshot_document(snapshot: PoolSnapshot, now: float) -> dict[str, Plain]:
    """The whole of `snapshot` at `now`; unknown values are null, ages are seconds."""
    saturation, saturated = snapshot.saturation(now), snapshot.saturated(now)
    fresh, eligible = snapshot.fresh(now), snapshot.eligible(now)
    settings = snapshot.state.settings
    rows: list[Plain] = []
    for row in range(len(snapshot)):
        document = _observed(snapshot, row, now)
        document |= {
            "in_flight_requests": float(snapshot.in_flight_requests[row]),
            "in_flight_tokens": float(snapshot.in_flight_tokens[row]),
            "saturation_ratio": _value(saturation, row),
            "saturated": bool(saturated[row]),
            "fresh": bool(fresh[row]),
            "eligible": bool(eligible[row]),
        }
        rows.append(document)
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
        "refused": dict(columns.refused[row]),
        "last_failure": None
        if failure is None
        else {"cause": failure.cause, "age_seconds": now - failure.at, "consecutive": failure.consecutive},
    }


def _value(column: FloatArray, row: int) -> float | None:
    value = float(column[row])
    return None if math.isnan(value) else value


def _age(column: FloatArray, row: int, now: float) -> float | None:
    at = float(column[row])
    return max(0.0, now - at) if math.isfinite(at) else None
