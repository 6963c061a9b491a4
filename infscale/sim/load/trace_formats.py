"""Formats of traces, told by their first line.

Mooncake's JSON lines have the arrival in milliseconds, token counts, and an id for each 512-token block of the prompt:
equal ids mean equal text up to and including that block. Azure's CSV has the arrival as a date, token counts, and
nothing about text. `infscale.recording` has the form of a recording, and of a file of picks.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, cast

import orjson

from infscale.errors import ConfigError
from infscale.recording.pick_files import PICKS_KEY, recorded_picks
from infscale.recording.recorded_request import VERSION_KEY, RecordedRequest, block_tokens, check_header, read_line
from infscale.sim.load.traces import TraceRequest, grouped
from infscale.sim.load.virtual_request import RequestClass

_BLOCK_TOKENS: Final = 512
_HEAD: Final = 32
"""How far into its first line a file says what it is."""
_AZURE_COLUMNS: Final = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_MAX_TOKENS: Final = 10_000_000
_TOO_MANY: Final = 429
_NO_LENGTHS: Final = (
    "no answer's length was recorded, for which response bodies must pass through the picker; say one, as in output=300"
)


def parse_trace(text: str, source: str, output_tokens: int | None = None) -> tuple[TraceRequest, ...]:
    """The requests of a trace in order of arrival, from 0 on, grouped by shared prefixes.

    `output_tokens` is the length of answers whose own was not recorded; None: the mean of those that were. Raises
    `ConfigError` that names the line of the first thing that is wrong; the format is told by the first line.
    """
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    if not first:
        raise ConfigError(source, "", "the trace is empty")
    parsed = list(_rows(lines, first, source, output_tokens))
    if not parsed:
        raise ConfigError(source, "", "the trace has a header but no requests")
    parsed.sort(key=lambda request: request.at_seconds)
    origin = parsed[0].at_seconds
    return grouped([replace(request, at_seconds=request.at_seconds - origin) for request in parsed])


def _rows(lines: list[str], first: str, source: str, output_tokens: int | None) -> Iterable[TraceRequest]:
    if not first.lstrip().startswith("{"):
        return _azure(lines, source)
    objects = _objects(lines, source)
    if PICKS_KEY in first[:_HEAD]:
        picked = (request for place, row in objects for request in recorded_picks(row, place))
        return _recorded(picked, source, output_tokens)
    return _recording(objects, source, output_tokens) if VERSION_KEY in first else _mooncake(objects)


def _objects(lines: Iterable[str], source: str) -> Iterator[tuple[str, dict[str, object]]]:
    """The JSON object of each line, with its place."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{source}:{number}"
        try:
            row: object = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ConfigError(place, "", f"expected one JSON object: {error}") from None
        if not isinstance(row, dict):
            raise ConfigError(place, "", "expected one JSON object per line")
        yield place, cast("dict[str, object]", row)


def _recording(
    objects: Iterator[tuple[str, dict[str, object]]], source: str, output_tokens: int | None
) -> Iterator[TraceRequest]:
    place, header = next(objects)
    check_header(header, place)
    yield from _recorded((read_line(row, place) for place, row in objects), source, output_tokens)


def _recorded(recorded: Iterable[RecordedRequest], source: str, output_tokens: int | None) -> Iterator[TraceRequest]:
    requests = [request for request in recorded if _played(request)]
    known = [one.output_tokens for one in requests if one.output_tokens]
    # Said of one request at least: another may have been over before its adapter was on a page.
    adapters = {one.model for one in requests if one.lora}
    usual = output_tokens or (round(sum(known) / len(known)) if known else None)
    for one in requests:
        output = one.output_tokens or usual
        if output is None:
            raise ConfigError(source, "output_tokens", _NO_LENGTHS)
        yield TraceRequest(
            one.at_seconds,
            one.prefixes,
            one.prompt_tokens,
            output,
            sizes=block_tokens(len(one.prefixes)),
            request_class=RequestClass.BATCH if one.priority < 0 else RequestClass.INTERACTIVE,
            lora=one.model if one.model in adapters else None,
        )


def _played(request: RecordedRequest) -> bool:
    """Whether it was work: a request that is the client's mistake is none."""
    mistaken = request.end == "refused" and request.status is not None and request.status < 500
    return request.prompt_tokens > 0 and not (mistaken and request.status != _TOO_MANY)


def _mooncake(objects: Iterable[tuple[str, dict[str, object]]]) -> Iterator[TraceRequest]:
    for place, fields in objects:
        arrival = _integer(fields.get("timestamp"), place, "timestamp", 0, None)
        tokens = _integer(fields.get("input_length"), place, "input_length", 1, _MAX_TOKENS)
        output = _integer(fields.get("output_length"), place, "output_length", 1, _MAX_TOKENS)
        blocks = _blocks(fields.get("hash_ids"), tokens, place)
        yield TraceRequest(arrival / 1000.0, blocks, tokens, output, sizes=(_BLOCK_TOKENS,) * len(blocks))


def _blocks(value: object, input_tokens: int, place: str) -> tuple[int, ...]:
    expected = -(-input_tokens // _BLOCK_TOKENS)
    if not isinstance(value, list):
        raise ConfigError(place, "hash_ids", "expected a list of block ids")
    items = cast("list[object]", value)
    blocks = tuple(item for item in items if isinstance(item, int) and not isinstance(item, bool))
    if len(blocks) != len(items):
        raise ConfigError(place, "hash_ids", "expected whole numbers")
    if len(blocks) != expected:
        problem = f"{input_tokens} tokens are {expected} blocks of {_BLOCK_TOKENS}, got {len(blocks)}"
        raise ConfigError(place, "hash_ids", problem)
    return blocks


def _azure(lines: Sequence[str], source: str) -> Iterator[TraceRequest]:
    """No cell of this format is quoted or holds a comma."""
    header, origin = True, None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place, cells = f"{source}:{number}", line.split(",")
        if header:
            _check_header(cells, place)
            header = False
            continue
        if len(cells) != len(_AZURE_COLUMNS):
            raise ConfigError(place, "", f"expected {len(_AZURE_COLUMNS)} cells, got {len(cells)}")
        arrival = _date(cells[0], place)
        origin = origin or arrival
        tokens = _integer(cells[1], place, "ContextTokens", 1, _MAX_TOKENS)
        output = _integer(cells[2], place, "GeneratedTokens", 1, _MAX_TOKENS)
        yield TraceRequest((arrival - origin).total_seconds(), (), tokens, output)


def _check_header(cells: Sequence[str], place: str) -> None:
    if tuple(cell.strip() for cell in cells) != _AZURE_COLUMNS:
        problem = f"expected JSON lines, or CSV with the columns {','.join(_AZURE_COLUMNS)}"
        raise ConfigError(place, "", problem)


def _date(text: str, place: str) -> datetime:
    # The published files have seven digits after the point; the seventh is below a microsecond.
    whole, _, fraction = text.strip().partition(".")
    try:
        return datetime.fromisoformat(f"{whole}.{fraction[:6]:0<6}")
    except ValueError:
        raise ConfigError(place, "TIMESTAMP", "expected a date such as 2023-11-16 18:15:46.6805900") from None


def _integer(value: object, place: str, path: str, low: int, high: int | None) -> int:
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value) if len(value) < 20 else None
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(place, path, "expected a whole number")
    if value < low or (high is not None and value > high):
        limits = f"at least {low}" if high is None else f"within {low}–{high}"
        raise ConfigError(place, path, f"expected a whole number {limits}")
    return value
