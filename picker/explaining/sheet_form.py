"""The file form of sheets: a line of JSON each, which says all of itself, so that any lines make a file.

Numbers are written exactly, arrays as base64 of their bytes (64 bits each, the least significant byte first). What is
not finite is the text of it; what was drawn as a whole number is a text of hexadecimal digits.
"""

from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeVar

import numpy as np
import orjson

from infscale.endpoint import Endpoint, EndpointKey, ObjectKey, Phase
from infscale.errors import ConfigError
from infscale.metrics.sample import FloatArray, LoraState
from infscale.metrics.saturation import SaturationKind, SaturationSettings
from infscale.metrics.snapshot import FLAGS, Columns, IntArray, PoolSettings, PoolState, frozen
from infscale.recording.pick_files import PICKS_KEY, PICKS_VERSION
from picker.epp_config.loader import PickerConfig
from picker.explaining.input_sheet import SHEET_ROWS, InputSheet
from picker.explaining.kept_pick import KeptPick
from picker.explaining.noted_random import Drawn
from picker.explaining.packed_rows import PackedRows
from picker.explaining.session_form import SessionReader, SessionWriter
from picker.pick_record import PickEnd, PickRecord
from picker.remote_work import STAGE_HEADERS, RemoteStage
from picker.request import Headers
from picker.scheduling.costs.protected_load import ProtectedLoad

_NUMBERS: Final = ("live", "memory", "observed", "said_numbers")
_UNREADABLE: Final = (KeyError, TypeError, ValueError, Error, IndexError, AttributeError, OverflowError)

T = TypeVar("T")


def sheet_line(sheet: InputSheet, wall: Callable[[float], datetime | None]) -> bytes:
    """The line of `sheet`, which has a pick; `wall` tells the time of a pick's `now`."""
    rows, capacities = _Distinct[IntArray](), [_bytes(each.tobytes()) for each in sheet.capacities]
    discovered, lora, attributes = (_Distinct[Sequence[Any]]() for _ in range(3))
    sessions = SessionWriter()
    picks = [_pick(each, rows, discovered, sessions) for each in sheet.picks]
    states = [
        [lora.place(one), attributes.place(other)] for one, other in zip(sheet.lora, sheet.attributes, strict=True)
    ]
    flags = _Distinct[bytes]()
    flags_of = [flags.place(each) for each in sheet.flags]
    settings = sheet.frame.settings
    last = sheet.picks[-1].now
    at = wall(last)
    document = {
        PICKS_KEY: PICKS_VERSION,
        "pool": list(sheet.frame.pool),
        "configuration": sheet.config.digest,
        "clocked": sheet.config.clocked,
        "last": [last, None if at is None else at.isoformat()],
        "settings": [
            settings.staleness_limit_seconds,
            settings.window_seconds,
            {**asdict(settings.saturation), "kind": settings.saturation.kind.value},
        ],
        "endpoints": [_endpoint(each) for each in sheet.frame.endpoints],
        "discovered": [[_endpoint(each) for each in found] for found in discovered.values],
        "rows": [each.tolist() for each in rows.values],
        "states": states,
        "lora": [[_lora(each) for each in column] for column in lora.values],
        "attributes": [
            [{name: _number(value) for name, value in each.items()} for each in column] for column in attributes.values
        ],
        "capacities": capacities,
        "said": sheet.said,
        "flags": [_bytes(each) for each in flags.values],
        "flags_of": flags_of,
        **{name: _packed(rows) for name, rows in zip(_NUMBERS, sheet.numbers, strict=True)},
        **sessions.heads(),
        "picks": picks,
    }
    return orjson.dumps(document) + b"\n"


@dataclass(frozen=True, slots=True)
class WrittenSheet:
    """A sheet that was read. `config` is the digest of the configuration that decided, `clocked` that of its clock.

    `last` is the time of the last pick, None where it is not known.
    """

    sheet: InputSheet
    config: str
    clocked: bool
    last: datetime | None

    def wall(self, at: float) -> datetime | None:
        """The time of a pick's `now`."""
        return None if self.last is None else self.last - timedelta(seconds=self.sheet.picks[-1].now - at)


def read_sheet(line: bytes, place: str, config: PickerConfig) -> WrittenSheet:
    """The sheet of a line, to be decided by `config`. Raises `ConfigError`, which names `place`, where it is none."""
    try:
        document = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ConfigError(place, "", "expected a line of JSON, as infscale writes picks") from error
    if not isinstance(document, dict) or document.get(PICKS_KEY) != PICKS_VERSION:
        raise ConfigError(place, PICKS_KEY, f"expected {PICKS_VERSION}, which this program reads")
    try:
        return _sheet(document, config)
    except _UNREADABLE as error:
        raise ConfigError(place, "", "the line is incomplete, or was changed") from error


def _sheet(document: Any, config: PickerConfig) -> WrittenSheet:
    limit, window, saturation = document["settings"]
    kind = SaturationKind(saturation.pop("kind"))
    settings = PoolSettings(limit, window, SaturationSettings(kind, **saturation))
    endpoints = tuple(map(_endpoint_of, document["endpoints"]))
    width = len(endpoints)
    frame = PoolState.of(ObjectKey(*document["pool"]), settings, endpoints, Columns.unknown(endpoints))
    live, memory, observed, said = (
        _packed_of(document[name], (rows, width)) for name, rows in zip(_NUMBERS, SHEET_ROWS, strict=True)
    )
    sheet = InputSheet(frame, config, (live, memory, observed, said))
    sheet.said = list(map(int, document["said"]))
    flags = [_flags(each, width) for each in document["flags"]]
    sheet.flags = [flags[each] for each in document["flags_of"]]
    sheet.capacities = [_array(each, width) for each in document["capacities"]]
    lora = [[None if each is None else _lora_of(each) for each in column] for column in document["lora"]]
    attributes = [
        [{name: float(value) for name, value in each.items()} for each in column] for column in document["attributes"]
    ]
    sheet.lora = [_width(lora[one], width) for one, _ in document["states"]]
    sheet.attributes = [_width(attributes[other], width) for _, other in document["states"]]
    rows = [_rows(each, width) for each in document["rows"]]
    discovered = [tuple(map(_endpoint_of, found)) for found in document["discovered"]]
    sessions = SessionReader(document, endpoints, config.sessions)
    sheet.picks = [_pick_of(each, rows, discovered, sessions) for each in document["picks"]]
    fits = all(
        0 <= each.state < len(observed)
        and 0 <= each.memory < len(memory)
        and 0 <= each.capacity < len(sheet.capacities)
        and len(each.adapters) in (0, width)
        for each in sheet.picks
    )
    of_states = observed, sheet.lora, sheet.said, sheet.flags
    fits = fits and all(0 <= each < len(said) for each in sheet.said)
    if not fits or len(live) != len(sheet.picks) or len({len(each) for each in of_states}) > 1:
        raise ValueError("parts do not fit together")
    _, at = document["last"]
    last = None if at is None else datetime.fromisoformat(at)
    return WrittenSheet(sheet, str(document["configuration"]), bool(document["clocked"]), last)


class _Distinct(Generic[T]):
    """Values that are there again and again, each once, in `values`."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self._places: dict[int, int] = {}

    def place(self, value: T) -> int:
        """The place of `value`."""
        found = self._places.get(id(value))
        if found is None:
            found = self._places[id(value)] = len(self.values)
            self.values.append(value)
        return found


def _pick(
    kept: KeptPick, rows: _Distinct[IntArray], discovered: _Distinct[Sequence[Any]], sessions: SessionWriter
) -> list[Any]:
    record = kept.record
    # Hashes of media would tell of known ones whether they were sent: which are which is all that stages ask.
    media = {each: place for place, each in enumerate(kept.media)}
    return [
        [
            record.request_id,
            record.model,
            record.revision,
            list(record.destinations),
            record.candidates,
            record.observed_age_seconds,
            record.score,
            record.tokens,
            record.seconds,
            None if record.end is None else list(_end(record.end)),
            record.refused,
            record.refused_status,
            record.waited_seconds,
            record.waited_for,
            sessions.claims(record.sessions),
            record.fallback,
            # Left out where there is nothing.
            *([[_stage(each) for each in record.remote]] if record.remote else ()),
        ],
        [
            kept.target_model,
            [[name, _bytes(value)] for name, value in kept.headers],
            kept.prompt_tokens,
            kept.output_tokens,
            kept.priority,
            len(media),
        ],
        kept.total,
        kept.tokens_each,
        kept.now,
        rows.place(kept.rows),
        [each if isinstance(each, float) else f"{each:x}" for each in kept.drawn],
        kept.blind,
        kept.gated,
        list(_protected(kept.protected)),
        kept.usual_seconds,
        kept.state,
        kept.memory,
        kept.capacity,
        [[media[one] for one in each if one in media] for each in kept.held_media],
        [sorted(each) for each in kept.adapters],
        discovered.place(kept.discovered),
        list(kept.chosen),
        sessions.sessions(kept.sessions),
    ]


def _pick_of(
    document: Any, rows: list[IntArray], discovered: list[tuple[Endpoint, ...]], sessions: SessionReader
) -> KeptPick:
    said, about, total, tokens_each, now, row, drawn, blind, gated, protected, usual, *places = document
    state, memory, capacity, held, adapters, found, chosen, placed = places
    target, headers, prompt_tokens, output_tokens, priority, media = about
    draws: Drawn = [each if isinstance(each, float) else int(each, 16) for each in drawn]
    return KeptPick(
        _record_of(said, float(now), sessions),
        str(target),
        Headers([(str(name), b64decode(value, validate=True)) for name, value in headers]),
        float(prompt_tokens),
        float(output_tokens),
        int(priority),
        tuple(range(media)),
        float(total),
        float(tokens_each),
        rows[row],
        draws,
        bool(blind),
        bool(gated),
        ProtectedLoad(*map(float, protected)),
        float(usual),
        int(state),
        int(memory),
        int(capacity),
        [tuple(map(int, each)) for each in held],
        [tuple(map(str, each)) for each in adapters],
        discovered[found],
        tuple(map(int, chosen)),
        sessions.sessions(placed),
    )


def _record_of(document: Any, now: float, sessions: SessionReader) -> PickRecord:
    request_id, model, revision, destinations, candidates, age, score, tokens, seconds, end, *rest = document
    refused, refused_status, waited_seconds, waited_for, claims, fallback, *remote = rest
    int(revision.rpartition(".")[2])
    record = PickRecord(request_id, model, revision, now, tuple(destinations), candidates, age, score, tokens)
    record.seconds = seconds
    record.end = None if end is None else PickEnd(*end)
    record.refused, record.refused_status = refused, refused_status
    record.waited_seconds, record.waited_for = waited_seconds, waited_for
    record.sessions = sessions.claims(claims)
    record.remote = tuple(_stage_of(each) for stages in remote for each in stages)
    record.fallback = fallback
    return record


def _stage(stage: RemoteStage) -> list[Any]:
    return [stage.stage, stage.profile, list(stage.authorities)]


def _stage_of(document: Any) -> RemoteStage:
    stage, profile, authorities = document
    if stage not in STAGE_HEADERS:
        raise ValueError("no stage of a request")
    return RemoteStage(stage, str(profile), tuple(map(str, authorities)))


def _protected(load: ProtectedLoad) -> tuple[float, ...]:
    return load.prefill_share, load.prefill_seconds, load.requests, load.context_tokens


def _end(end: PickEnd) -> tuple[Any, ...]:
    return (
        end.kind,
        end.status,
        end.served,
        end.first_byte_seconds,
        end.duration_seconds,
        end.prompt_tokens,
        end.completion_tokens,
        end.cached_tokens,
        end.streamed,
        end.evicted_for,
    )


def _endpoint(endpoint: Endpoint) -> list[Any]:
    return [list(endpoint.key), endpoint.address, endpoint.port, dict(endpoint.labels), endpoint.phase.value]


def _endpoint_of(document: Any) -> Endpoint:
    key, address, port, labels, phase = document
    return Endpoint(EndpointKey(*key), address, port, dict(labels), Phase(phase))


def _lora(state: LoraState | None) -> list[Any] | None:
    if state is None:
        return None
    return [sorted(state.running), sorted(state.waiting), state.max_adapters, sorted(state.loaded)]


def _lora_of(document: Any) -> LoraState:
    running, waiting, most, loaded = document
    return LoraState(frozenset(running), frozenset(waiting), most, frozenset(loaded))


def _packed(rows: PackedRows) -> list[Any]:
    first, places, values, ends = rows.parts()
    return [_bytes(first), _bytes(places), _bytes(values), ends]


def _packed_of(document: Any, shape: tuple[int, int]) -> PackedRows:
    first, places, values, ends = document
    parts = [b64decode(each, validate=True) for each in (first, places, values)]
    return PackedRows.of(parts[0], parts[1], parts[2], ends, shape)


def _bytes(data: bytes) -> str:
    return b64encode(data).decode()


def _number(value: float) -> float | str:
    return value if np.isfinite(value) else str(value)


def _array(text: str, width: int) -> FloatArray:
    return frozen(np.frombuffer(b64decode(text, validate=True), dtype=np.float64).reshape(width))


def _flags(text: str, width: int) -> bytes:
    flags = b64decode(text, validate=True)
    if len(flags) != len(FLAGS) * width or set(flags) - {0, 1}:
        raise ValueError("flags are neither true nor false")
    return flags


def _rows(found: list[int], width: int) -> IntArray:
    rows = np.array(found, dtype=np.intp)
    if not len(rows) or rows.min() < 0 or rows.max() >= width:
        raise ValueError("rows are outside the pool")
    return frozen(rows)


def _width(column: list[T], width: int) -> list[T]:
    if len(column) != width:
        raise ValueError("a column has another length than the pool")
    return column
