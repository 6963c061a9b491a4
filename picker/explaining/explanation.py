"""Why a pick was as it was, as a document: worked out again from its inputs when it is asked for."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from infscale.endpoint import Endpoint
from infscale.metrics.sample import FloatArray
from picker.epp_config.loader import PickerConfig
from picker.explaining.explained_sessions import claimed_sessions, explained_sessions
from picker.explaining.noted_stages import Narrowing, Notes, Picking, decided_with_notes
from picker.explaining.pick_inputs import PickInputs
from picker.pick_record import PickEnd, PickRecord
from picker.remote_work import remote_document
from picker.scheduling.plugin import USUAL_PREDICTIONS, SchedulingContext
from picker.scheduling.prediction import predict, time_per_token
from picker.scheduling.profile import Selection

NAMED: Final = 64
"""Endpoints that a document has of each stage and of the candidates; of more it has the best, and says how many."""

Document = dict[str, object]


def explanation(inputs: PickInputs, config: PickerConfig, wall: Callable[[float], datetime | None]) -> Document:
    """The document of one decision by `config`, which is the one that made it; `wall` tells the time of its `now`.

    `reproduced`: the stages decide the same again, so that what they say is what they said. What a stage reads beside
    its inputs would show here.
    """
    context = inputs.context(config)
    again, notes = decided_with_notes(config, context, inputs.kept.rows, inputs.room)
    chosen = again.chosen if isinstance(again, Selection) else ()
    at = wall(inputs.kept.now)
    predicting = context
    if not config.predicting.enabled:
        predicting = inputs.context(config, USUAL_PREDICTIONS)
    seen = _Seen(inputs, predicting)
    picking = _last(notes, chosen, again.profile if isinstance(again, Selection) else "")
    return {
        **_head(inputs.kept.record, config, at),
        "pool": str(inputs.state.pool),
        "priority": inputs.kept.facts.priority,
        "prompt_tokens": inputs.kept.facts.prompt_tokens,
        "expected_output_tokens": inputs.kept.facts.output_tokens,
        "load_unknown": inputs.kept.blind,
        "endpoints": len(inputs.state.endpoints),
        "eligible": len(inputs.kept.rows),
        "remote": remote_document(
            inputs.kept.record.remote, {each.authority: str(each.key) for each in inputs.state.endpoints}
        ),
        "sessions": explained_sessions(inputs.kept, inputs.state.endpoints),
        "stages": [_stage(each, seen) for each in notes.narrowings],
        "candidates": _candidates(notes, picking, chosen, seen),
        "candidates_left_out": 0 if picking is None else max(0, len(picking.rows) - NAMED),
        "picker": None if picking is None else picking.stage,
        "drawn": bool(inputs.kept.drawn),
        "winner": seen.name(chosen[0]) if chosen else None,
        "runner_up": _runner_up(picking, chosen, seen),
        "predicted": _predicted(chosen, seen),
        "actual": _actual(inputs.kept.record.end),
        "reproduced": inputs.repeated(again),
    }


def bare_explanation(record: PickRecord, pool: str, wall: Callable[[float], datetime | None]) -> Document:
    """The document of a decision without stages: of a request without a body, or one whose inputs are gone."""
    return {
        **_head(record, None, wall(record.now)),
        "pool": pool,
        "eligible": record.candidates,
        "remote": remote_document(record.remote, {}),
        "sessions": claimed_sessions(record.sessions),
        "winner": record.destinations[0] if record.destinations else None,
        "actual": _actual(record.end),
    }


def _head(record: PickRecord, config: PickerConfig | None, at: datetime | None) -> Document:
    return {
        "request_id": record.request_id,
        "pick": record.revision,
        "time": None if at is None else at.isoformat(timespec="milliseconds"),
        "configuration": None if config is None else config.digest,
        "model": record.model,
        "waited_seconds": record.waited_seconds,
        "waited_for": record.waited_for,
        "fallback": record.fallback,
        "destinations": list(record.destinations),
        "decision_seconds": record.seconds,
        "charged_tokens": record.tokens,
        "refused": None if record.refused is None else {"reason": record.refused, "status": record.refused_status},
    }


class _Seen:
    """What is said of endpoints in one decision; what was worked out for it is looked up."""

    def __init__(self, inputs: PickInputs, context: SchedulingContext) -> None:
        self._context = context
        self._endpoints: tuple[Endpoint, ...] = inputs.state.endpoints
        rows = np.arange(len(self._endpoints), dtype=np.intp)
        known = predict(context, rows)
        unknown = np.full(len(rows), np.nan)
        self._first_token: FloatArray = unknown if known is None else known.ttft
        self._per_token: FloatArray = unknown if known is None else time_per_token(context.snapshot)

    def name(self, row: int) -> str:
        """The endpoint's name."""
        return str(self._endpoints[row].key)

    def numbers(self, row: int) -> Document:
        """What was known of the endpoint of `row`."""
        context, columns = self._context, self._context.snapshot.columns
        snapshot, gauges = context.snapshot, columns.gauges
        age = context.now - float(columns.observed_at[row])
        return {
            "observed_age_seconds": _number(age),
            "waiting_requests": _number(gauges.waiting[row]),
            "running_requests": _number(gauges.running[row]),
            "kv_cache_utilization_ratio": _number(gauges.kv_utilization[row]),
            "in_flight_requests": _number(snapshot.in_flight_requests[row]),
            "in_flight_tokens": _number(snapshot.in_flight_tokens[row]),
            "cached_tokens": _number(context.prefix.matched_tokens[row]),
            **self.predicted(row),
        }

    def predicted(self, row: int) -> Document:
        """What was to be expected of the endpoint of `row`."""
        return {
            "time_to_first_token_seconds": _number(self._first_token[row]),
            "time_per_output_token_seconds": _number(self._per_token[row]),
        }

    def address(self, row: int) -> str:
        """The endpoint's address and port."""
        return self._endpoints[row].authority


def _stage(narrowing: Narrowing, seen: _Seen) -> Document:
    left = set(narrowing.after.tolist())
    dropped = [row for row in narrowing.before.tolist() if row not in left]
    return {
        "kind": narrowing.kind,
        "profile": narrowing.profile or None,
        "stage": narrowing.stage,
        "before": len(narrowing.before),
        "after": len(narrowing.after),
        "dropped": [seen.name(row) for row in dropped[:NAMED]],
    }


def _last(notes: Notes, chosen: tuple[int, ...], profile: str) -> Picking | None:
    """The picking that counted: the last one that chose what was sent, in that profile where several ran."""
    pickings = [each for each in notes.pickings if each.profile == profile] or notes.pickings
    same = [each for each in pickings if each.chosen == chosen]
    return same[-1] if same else pickings[-1] if pickings else None


def _candidates(notes: Notes, picking: Picking | None, chosen: tuple[int, ...], seen: _Seen) -> list[Document]:
    """The candidates that a picker chose among, the best first."""
    if picking is None:
        return []
    places = {row: place for place, row in enumerate(picking.rows.tolist())}
    first = sorted(places, key=lambda row: (row not in chosen[:1], -float(picking.scores[places[row]])))
    scorings = [each for each in notes.scorings if each.profile == picking.profile]
    return [
        {
            "endpoint": seen.name(row),
            "authority": seen.address(row),
            "choice": chosen.index(row) + 1 if row in chosen else None,
            "score": float(picking.scores[places[row]]),
            "scores": [
                {
                    "scorer": each.stage,
                    "weight": each.weight,
                    "raw": _number(each.raw[places[row]]),
                    "weighted": each.weight * float(each.counted[places[row]]),
                }
                for each in scorings
            ],
            **seen.numbers(row),
        }
        for row in first[:NAMED]
    ]


def _runner_up(picking: Picking | None, chosen: tuple[int, ...], seen: _Seen) -> Mapping[str, object] | None:
    """The best of the others, and by how much it is behind; negative where the picker did not take the best."""
    if picking is None or not chosen or len(picking.rows) < 2:
        return None
    own = float(picking.scores[picking.rows == chosen[0]][0])
    others = picking.rows != chosen[0]
    rows, scores = picking.rows[others], picking.scores[others]
    best = int(scores.argmax())
    return {"endpoint": seen.name(int(rows[best])), "behind": own - float(scores[best])}


def _predicted(chosen: tuple[int, ...], seen: _Seen) -> Document | None:
    return seen.predicted(chosen[0]) if chosen else None


def _actual(end: PickEnd | None) -> Document | None:
    if end is None:
        return None
    return {
        "outcome": end.kind,
        "status": end.status,
        "served": end.served,
        "time_to_first_byte_seconds": end.first_byte_seconds,
        "time_per_output_token_seconds": end.seconds_per_token,
        "duration_seconds": end.duration_seconds,
        "evicted_for": end.evicted_for,
        "prompt_tokens": end.prompt_tokens,
        "completion_tokens": end.completion_tokens,
        "cached_tokens": end.cached_tokens,
    }


def _number(value: float | np.float64) -> float | None:
    """A number as JSON has it; unknown or endless is None."""
    number = float(value)
    return number if np.isfinite(number) else None


def wall_of(now: float, wall: datetime) -> Callable[[float], datetime | None]:
    """Tells times of a monotonic clock that says `now` at `wall`."""
    return lambda at: wall - timedelta(seconds=now - at)
