"""Public request traces: parsing, and thinning that keeps their prefix structure.

Two formats: Mooncake's JSON lines (arrival in milliseconds, token counts, one id per 512-token prompt block; equal ids
mean equal text up to and including that block) and Azure's CSV (arrival as a date, token counts, nothing about text).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, cast

import orjson

from infscale.errors import ConfigError

if TYPE_CHECKING:
    from random import Random

BLOCK_TOKENS = 512
"""Prompt tokens per block id of a Mooncake trace."""

_AZURE_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
_MAX_TOKENS = 10_000_000
_COARSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One request of a trace, `at_seconds` after the trace's first.

    `blocks` are ids of the prompt's blocks of `block_tokens`, the last one possibly partial; empty where the trace says
    nothing about text. Requests of one `group` share more of their prefix than all requests do.
    """

    at_seconds: float
    blocks: tuple[int, ...]
    input_tokens: int
    output_tokens: int
    group: int = 0
    block_tokens: int = BLOCK_TOKENS


@dataclass(frozen=True, slots=True)
class TraceWindow:
    """Which part of a trace to play: `seconds` from `start_seconds` on, thinned to about `rate` requests per second.

    Requests longer than `max_tokens` (prompt and output) are left out: no server's KV cache could hold them.
    """

    start_seconds: float
    seconds: float
    rate: float
    max_tokens: int


@dataclass(frozen=True, slots=True)
class TraceSubset:
    """The requests that are played, from time 0 on, and what they are a subset of.

    `offered` and `offered_groups` count what the window holds, `too_long` what of it was left out for its length.
    """

    window: TraceWindow
    requests: tuple[TraceRequest, ...]
    groups: int
    offered: int
    offered_groups: int
    too_long: int
    total: int

    def description(self) -> dict[str, object]:
        """The subset as the report names it."""
        return {
            "start_seconds": self.window.start_seconds,
            "window_seconds": self.window.seconds,
            "requests": len(self.requests),
            "requests_in_window": self.offered,
            "requests_in_trace": self.total,
            "fraction_of_window": round(len(self.requests) / self.offered, 4) if self.offered else None,
            "prefix_groups": self.groups,
            "prefix_groups_in_window": self.offered_groups,
            "left_out_as_too_long": self.too_long,
        }


def parse_trace(text: str, source: str) -> tuple[TraceRequest, ...]:
    """The requests of a trace in order of arrival, from 0 on, grouped by shared prefixes.

    Raises `ConfigError` that names the line of the first thing that is wrong; the format is told by the first
    character.
    """
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    if not first:
        raise ConfigError(source, "", "the trace is empty")
    parsed = list(_mooncake(lines, source) if first.lstrip().startswith("{") else _azure(lines, source))
    if not parsed:
        raise ConfigError(source, "", "the trace has a header but no requests")
    parsed.sort(key=lambda request: request.at_seconds)
    origin = parsed[0].at_seconds
    return _grouped([replace(request, at_seconds=request.at_seconds - origin) for request in parsed])


def spread(requests: Sequence[TraceRequest], rng: "Random") -> tuple[TraceRequest, ...]:
    """The requests of a trace, in order, with arrivals that many share spread evenly until the clock's next step.

    Mooncake's times are multiples of 3 s.
    """
    times = sorted({request.at_seconds for request in requests})
    steps = [later - earlier for earlier, later in pairwise(times)]
    step = median(steps) if steps else 0.0
    # Many requests on few, far apart instants is a clock's resolution, not how people arrive.
    if step < _COARSE_SECONDS or len(requests) <= 2 * len(times):
        return tuple(requests)
    moved = [replace(request, at_seconds=request.at_seconds + rng.uniform(0.0, step)) for request in requests]
    return tuple(sorted(moved, key=lambda request: request.at_seconds))


def thin(requests: Sequence[TraceRequest], window: TraceWindow, rng: "Random") -> TraceSubset:
    """A part of `requests` that servers of unchanged speed can bear.

    Whole groups are kept or dropped, in random order until the rate is reached, so that what shares a prefix stays
    together and the hit ratio that is possible stays what it was.
    """
    end = window.start_seconds + window.seconds
    offered = [request for request in requests if window.start_seconds <= request.at_seconds < end]
    groups: dict[int, list[TraceRequest]] = {}
    for request in offered:
        if request.input_tokens + request.output_tokens <= window.max_tokens:
            groups.setdefault(request.group, []).append(request)
    order = sorted(groups)
    rng.shuffle(order)
    wanted = window.rate * window.seconds
    kept: list[TraceRequest] = []
    kept_groups = 0
    for group in order:
        members = groups[group]
        # A group that would overshoot by more than it fills is passed over: a later, smaller one fits better.
        if len(kept) + len(members) / 2 <= wanted:
            kept.extend(members)
            kept_groups += 1
    kept.sort(key=lambda request: request.at_seconds)
    return TraceSubset(
        window,
        tuple(replace(request, at_seconds=request.at_seconds - window.start_seconds) for request in kept),
        kept_groups,
        len(offered),
        len({request.group for request in offered}),
        len(offered) - sum(len(members) for members in groups.values()),
        len(requests),
    )


def _mooncake(lines: Iterable[str], source: str) -> Iterator[TraceRequest]:
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
        fields = cast("dict[str, object]", row)
        arrival = _integer(fields.get("timestamp"), place, "timestamp", 0, None)
        tokens = _integer(fields.get("input_length"), place, "input_length", 1, _MAX_TOKENS)
        output = _integer(fields.get("output_length"), place, "output_length", 1, _MAX_TOKENS)
        blocks = _blocks(fields.get("hash_ids"), tokens, place)
        yield TraceRequest(arrival / 1000.0, blocks, tokens, output)


def _blocks(value: object, input_tokens: int, place: str) -> tuple[int, ...]:
    expected = -(-input_tokens // BLOCK_TOKENS)
    if not isinstance(value, list):
        raise ConfigError(place, "hash_ids", "expected a list of block ids")
    items = cast("list[object]", value)
    blocks = tuple(item for item in items if isinstance(item, int) and not isinstance(item, bool))
    if len(blocks) != len(items):
        raise ConfigError(place, "hash_ids", "expected whole numbers")
    if len(blocks) != expected:
        problem = f"{input_tokens} tokens are {expected} blocks of {BLOCK_TOKENS}, got {len(blocks)}"
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


def _grouped(requests: list[TraceRequest]) -> tuple[TraceRequest, ...]:
    """Group by the first block that not all requests share; a request without one shares nothing of its own."""
    depth = _shared_depth([request.blocks for request in requests])
    groups: dict[int, int] = {}
    grouped: list[TraceRequest] = []
    for number, request in enumerate(requests):
        own = len(request.blocks) > depth
        group = groups.setdefault(request.blocks[depth], number) if own else number
        grouped.append(replace(request, group=group))
    return tuple(grouped)


def _shared_depth(prompts: Sequence[tuple[int, ...]]) -> int:
    """How many leading blocks every prompt has in common that has that many."""
    depth = 0
    while True:
        level = [blocks[depth] for blocks in prompts if len(blocks) > depth]
        if len(level) < 2 or len(set(level)) > 1:
            return depth
        depth += 1
