"""What a model server's metrics page remembers of its engine: counters, and histograms with vLLM's bucket bounds."""

from bisect import bisect_left
from dataclasses import dataclass, field

from infscale.sim.engine.steps import FinishedRequest, StepOutcome

_BELOW_A_SECOND = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
_LONG = (60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0)
_TENS = (2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)

FIRST_TOKEN_BOUNDS: tuple[float, ...] = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0),
    *(*_TENS, 160.0, 640.0, 2560.0),
)
TOKEN_GAP_BOUNDS: tuple[float, ...] = (0.01, 0.025, 0.05, 0.075, *_BELOW_A_SECOND, *_TENS)
REQUEST_BOUNDS: tuple[float, ...] = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0),
    *_LONG,
)
ITERATION_BOUNDS: tuple[float, ...] = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
HTTP_DURATION_BOUNDS: tuple[float, ...] = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5),
    *(4.0, 4.5, 5.0, 7.5, 10.0, 30.0, 60.0),
)
CHOICES_BOUNDS: tuple[float, ...] = (1, 2, 5, 10, 20)


def one_two_five(limit: int) -> tuple[float, ...]:
    """Bounds 1, 2, 5, 10, 20, 50 … up to and including `limit`: vLLM's buckets for token counts."""
    bounds: list[float] = []
    power = 1
    while power <= limit:
        bounds += [factor * power for factor in (1, 2, 5) if factor * power <= limit]
        power *= 10
    return tuple(bounds)


class Histogram:
    """Observations by bucket. `counts` is per bucket, not cumulative; the last one is beyond the highest bound."""

    __slots__ = ("bounds", "counts", "sum", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.total = 0

    def observe(self, value: float, times: int = 1) -> None:
        """Count `value`, `times` times; a bucket includes its upper bound."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times
        self.total += times


@dataclass(slots=True, eq=False)
class Histograms:
    """Every histogram of one engine; seconds or tokens as the name says. `token_limit` is the longest context."""

    token_limit: int
    first_token: Histogram = field(default_factory=lambda: Histogram(FIRST_TOKEN_BOUNDS))
    token_gap: Histogram = field(default_factory=lambda: Histogram(TOKEN_GAP_BOUNDS))
    per_output_token: Histogram = field(default_factory=lambda: Histogram(TOKEN_GAP_BOUNDS))
    end_to_end: Histogram = field(default_factory=lambda: Histogram(REQUEST_BOUNDS))
    queue: Histogram = field(default_factory=lambda: Histogram(REQUEST_BOUNDS))
    inference: Histogram = field(default_factory=lambda: Histogram(REQUEST_BOUNDS))
    prefill: Histogram = field(default_factory=lambda: Histogram(REQUEST_BOUNDS))
    decode: Histogram = field(default_factory=lambda: Histogram(REQUEST_BOUNDS))
    iteration_tokens: Histogram = field(default_factory=lambda: Histogram(ITERATION_BOUNDS))
    choices: Histogram = field(default_factory=lambda: Histogram(CHOICES_BOUNDS))
    prompt_tokens: Histogram = field(init=False)
    computed_tokens: Histogram = field(init=False)
    generation_tokens: Histogram = field(init=False)
    max_generation_tokens: Histogram = field(init=False)
    max_tokens_asked: Histogram = field(init=False)

    def __post_init__(self) -> None:
        bounds = one_two_five(self.token_limit)
        self.prompt_tokens = Histogram(bounds)
        self.computed_tokens = Histogram(bounds)
        self.generation_tokens = Histogram(bounds)
        self.max_generation_tokens = Histogram(bounds)
        self.max_tokens_asked = Histogram(bounds)


class Recorder:
    """Counters and histograms of one engine since it started.

    Prompt tokens, prefix queries and hits are in tokens and counted at first admission only; cached ones are
    included. `busy_seconds` adds up step durations: its rate is the GPU's utilisation. `rejections` are requests
    refused because the queue is full. Of those `finished`, by reason, a client of ``abort`` went away.
    """

    def __init__(self, token_limit: int) -> None:
        self.histograms = Histograms(token_limit)
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.prefix_queries = 0
        self.prefix_hits = 0
        self.preemptions = 0
        self.rejections = 0
        self.busy_seconds = 0.0
        self.finished: dict[str, int] = {"stop": 0, "length": 0, "abort": 0, "error": 0, "repetition": 0}

    def record_step(self, outcome: StepOutcome) -> None:
        """Account a finished step, its requests excepted (`record_finished`)."""
        histograms = self.histograms
        prefill = outcome.plan.prefill_tokens
        self.busy_seconds += outcome.plan.seconds
        self.prompt_tokens += outcome.admitted_tokens
        self.generation_tokens += len(outcome.tokens)
        self.prefix_queries += outcome.admitted_tokens
        self.prefix_hits += outcome.cached_tokens
        self.preemptions += outcome.preempted
        histograms.iteration_tokens.observe(prefill + len(outcome.tokens))
        if outcome.decode_tokens:
            histograms.token_gap.observe(outcome.decode_interval_seconds, outcome.decode_tokens)
        for seconds in outcome.first_token_seconds:
            histograms.first_token.observe(seconds)
        for seconds in outcome.recompute_gap_seconds:
            histograms.token_gap.observe(seconds)

    def record_decode(self, seconds: float, tokens: int, interval: float) -> None:
        """Account a step of `seconds` that gave its first token to none: `tokens`, each `interval` after its last."""
        self.busy_seconds += seconds
        self.generation_tokens += tokens
        self.histograms.iteration_tokens.observe(tokens)
        if tokens:
            self.histograms.token_gap.observe(interval, tokens)

    def record_finished(self, done: FinishedRequest, reason: str, max_tokens_asked: int | None) -> None:
        """Account a request that got all its tokens; `reason` is the API's finish reason."""
        histograms = self.histograms
        request = done.request
        self.finished[reason] += 1
        histograms.end_to_end.observe(done.finished_at - done.arrived_at)
        histograms.queue.observe(done.scheduled_at - done.arrived_at)
        histograms.inference.observe(done.finished_at - done.scheduled_at)
        histograms.prefill.observe(done.first_token_at - done.scheduled_at)
        decode = done.finished_at - done.first_token_at
        histograms.decode.observe(decode)
        histograms.per_output_token.observe(decode / max(1, request.output_tokens - 1))
        histograms.prompt_tokens.observe(request.prompt_tokens)
        histograms.computed_tokens.observe(request.prompt_tokens - done.cached_tokens)
        histograms.generation_tokens.observe(request.output_tokens)
        histograms.max_generation_tokens.observe(request.output_tokens)
        histograms.choices.observe(1)
        if max_tokens_asked is not None:
            histograms.max_tokens_asked.observe(max_tokens_asked)


@dataclass(slots=True, eq=False)
class PathRecord:
    """What the HTTP layer counted of one path and method; `total` grows with every request."""

    total: int = 0
    statuses: dict[str, int] = field(default_factory=dict[str, int])
    duration: Histogram = field(default_factory=lambda: Histogram((0.1, 0.5, 1.0)))
    request_bytes: int = 0
    response_bytes: int = 0


class HttpRecorder:
    """Requests by path and method, and their durations; `paths` are listed from the start."""

    def __init__(self, paths: tuple[tuple[str, str], ...]) -> None:
        self.paths: dict[tuple[str, str], PathRecord] = {path: PathRecord() for path in paths}
        self.duration = Histogram(HTTP_DURATION_BOUNDS)

    def observe(self, path: tuple[str, str], status: int, seconds: float, sizes: tuple[int, int]) -> None:
        """Account one answered request; `sizes` are the content lengths of request and response."""
        record = self.paths.setdefault(path, PathRecord())
        record.total += 1
        status_class = f"{status // 100}xx"
        record.statuses[status_class] = record.statuses.get(status_class, 0) + 1
        record.duration.observe(seconds)
        record.request_bytes += sizes[0]
        record.response_bytes += sizes[1]
        self.duration.observe(seconds)
