"""Request traces, and thinning that keeps their prefix structure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from infscale.sim.load.virtual_request import RequestClass

if TYPE_CHECKING:
    from random import Random

_COARSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """One request of a trace, `at_seconds` after the trace's first.

    `blocks` are ids of the prompt's blocks, of so many tokens as `sizes` says, the last one possibly partial; equal ids
    mean equal text up to and including that block. What follows them, and a prompt without any, shares nothing.
    Requests of one `group` share more of their prefix than all requests do. `request_class` None: the trace says
    nothing of it. `lora` is the LoRA adapter it is for, None: the base model.
    """

    at_seconds: float
    blocks: tuple[int, ...]
    input_tokens: int
    output_tokens: int
    group: int = 0
    sizes: tuple[int, ...] = ()
    request_class: RequestClass | None = None
    lora: str | None = None


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


def grouped(requests: Sequence[TraceRequest]) -> tuple[TraceRequest, ...]:
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
