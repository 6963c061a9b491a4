"""What the reference picker counts of requests, by its labels, for dashboards and autoscalers that ask by its names.

Models, and the account of a request, are named by clients: so many of them have a series of their own and the rest
share one, `OTHER`. Names that a pool's endpoints serve keep room to themselves.
"""

from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Final

from infscale.telemetry.histogram import Histogram
from picker.flow.tenants import FAIRNESS_HEADERS
from picker.remote_work import RemoteWork
from picker.request import Decision, Headers, InferenceRequest, Outcome, ParsedBody, PromptDirector, Rejection, Verdict

OTHER: Final = "other"
UNNAMED_FLOW: Final = "default-flow"
UNKNOWN_MODEL: Final = "unknown"
MODEL_SERVER_ERROR: Final = "ModelServerError"

MAX_SERIES: Final = 256
"""Label sets with counts of their own; one more for each priority takes the rest."""
MAX_STRANGE_MODELS: Final = 64
"""Of the models that no endpoint serves."""
MAX_FLOWS: Final = 64
MAX_NAME_CHARACTERS: Final = 256
MAX_ATTEMPTS: Final = 1024

_Bounds = tuple[float, ...]
# Types are said: the compiler does not set a tuple of floats whose length it knows.

SECONDS: Final[_Bounds] = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0),
    *(30.0, 45.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 480.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0),
)
FIRST_TOKEN_SECONDS: Final[_Bounds] = SECONDS[:24]
TOKEN_SECONDS: Final[_Bounds] = (
    *(0.0005, 0.00205, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0),
    *(1.5, 2.0),
)
NORMALIZED_SECONDS: Final[_Bounds] = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
REQUEST_BYTES: Final[_Bounds] = tuple([float(1 << power) for power in range(6, 31)])
# 32778 is what the reference has between its powers of two.
_POWERS: Final = (1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32778, 65536)
RESPONSE_BYTES: Final[_Bounds] = tuple(map(float, _POWERS))
INPUT_TOKENS: Final[_Bounds] = (*RESPONSE_BYTES, 131072.0, 262144.0, 524288.0, 1048576.0)
OUTPUT_TOKENS: Final[_Bounds] = RESPONSE_BYTES[:12]
HIT_RATIOS: Final[_Bounds] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
HIT_BYTES: Final[_Bounds] = (0.0, *[float(1 << power) for power in range(4, 17)])

BOUNDS: Final[dict[str, _Bounds]] = {
    "duration": SECONDS,
    "request_bytes": REQUEST_BYTES,
    "response_bytes": RESPONSE_BYTES,
    "input_tokens": INPUT_TOKENS,
    "output_tokens": OUTPUT_TOKENS,
    "cached_tokens": INPUT_TOKENS,
    "normalized": NORMALIZED_SECONDS,
    "first_token": FIRST_TOKEN_SECONDS,
    "first_token_streamed": FIRST_TOKEN_SECONDS,
    "token": TOKEN_SECONDS,
}
"""The buckets of what is observed of requests."""

Labels = tuple[str, str, str, str]
"""Model asked for, model sent, fairness id, priority."""


@dataclass(slots=True, eq=False)
class RequestCounts:
    """The counts of one label set."""

    requests: int = 0
    running: int = 0
    errors: dict[str, int] = field(default_factory=dict[str, int])
    histograms: dict[str, Histogram] = field(default_factory=dict[str, Histogram])

    def failed(self, code: str) -> None:
        """Count an error."""
        self.errors[code] = self.errors.get(code, 0) + 1

    def observe(self, name: str, value: float) -> None:
        """Count `value` in the histogram of `name`, one of `BOUNDS`."""
        histogram = self.histograms.get(name)
        if histogram is None:
            histogram = self.histograms[name] = Histogram(BOUNDS[name])
        histogram.observe(value)

    def ended(self, outcome: Outcome) -> None:
        """Count how a response went, as far as that is known."""
        tokens, seconds = outcome.completion_tokens, outcome.duration_seconds
        if outcome.status is not None and outcome.status >= 400:
            self.failed(MODEL_SERVER_ERROR)
        if outcome.prompt_tokens:
            self.observe("input_tokens", outcome.prompt_tokens)
        if outcome.cached_tokens is not None:
            self.observe("cached_tokens", outcome.cached_tokens)
        if outcome.size_bytes is not None:
            self.observe("response_bytes", outcome.size_bytes)
        if tokens:
            self.observe("output_tokens", tokens)
        if outcome.kind != "completed" or seconds <= 0.0:
            return
        self.observe("duration", seconds)
        if tokens:
            self.observe("normalized", seconds / tokens)
        first = outcome.first_byte_seconds
        if first is None:
            return
        self.observe("first_token_streamed" if outcome.streamed else "first_token", first)
        if outcome.streamed and tokens and tokens > 1:
            self.observe("token", max(0.0, seconds - first) / (tokens - 1))


class ReferenceCounts:
    """A director that counts for the reference's metrics what goes through it to `director`.

    `serves` says whether a model is one of those that endpoints have.
    """

    def __init__(self, director: PromptDirector, serves: Callable[[str], bool]) -> None:
        self._director = director
        self._serves = serves
        self._open: dict[int, RequestCounts] = {}
        self._models: set[str] = {""}
        self._strange = 0
        self._flows: set[str] = {"", UNNAMED_FLOW}
        self.requests: dict[Labels, RequestCounts] = {}
        self.hit_ratios = Histogram(HIT_RATIOS)
        """Of prompts, the share that the chosen endpoint was believed to have cached …"""
        self.hit_bytes = Histogram(HIT_BYTES)
        """… and the bytes."""
        self.attempts: dict[tuple[str, str, str], int] = {}
        """Decisions by "success" or "failure", the model sent, and the authority chosen ("" where there is none)."""
        self.disaggregated: dict[tuple[str, str, str, str], int] = {}
        """Decisions of profile handlers that may have stages done elsewhere, by name and type of these, the model sent,
        and which stages were."""

    def direct(self, request: InferenceRequest, now: float) -> Verdict:
        """See `Director`."""
        verdict = self._director.direct(request, now)
        body = request.body
        if body is None:
            return verdict
        if not isinstance(verdict, Decision):
            self._attempted("failure", self._model(body.model), "")
            return verdict
        counts = self._counts(body.model, verdict.target_model, _flow(request.headers), str(verdict.priority))
        counts.requests += 1
        counts.running += 1
        counts.observe("request_bytes", request.size_bytes)
        self._attempted("success", self._model(verdict.target_model), verdict.destinations[0])
        if verdict.prefix_hit_ratio is not None:
            self.hit_ratios.observe(verdict.prefix_hit_ratio)
            self.hit_bytes.observe(verdict.prefix_hit_ratio * len(body.prompt))
        if verdict.remote is not None:
            self._disaggregated(verdict.remote, verdict.target_model)
        # The record stays with the decision until its end, of which the director is told exactly once.
        if verdict.record is not None:
            self._open[id(verdict.record)] = counts
        return verdict

    def refused(self, headers: Headers, body: ParsedBody | None, rejection: Rejection) -> None:
        """See `Director`."""
        self._director.refused(headers, body, rejection)
        model = "" if body is None else body.model
        self._counts(model, model, _flow(headers), "0").failed(rejection.code)

    def response_started(self, decision: Decision, status: int | None, served: str | None, now: float) -> Decision:
        """See `Director`."""
        return self._director.response_started(decision, status, served, now)

    def finished(self, request: InferenceRequest, decision: Decision, outcome: Outcome, now: float) -> None:
        """See `Director`."""
        self._director.finished(request, decision, outcome, now)
        counts = self._open.pop(id(decision.record), None)
        if counts is not None:
            counts.running -= 1
            counts.ended(outcome)

    def overheard(self, outcome: Outcome) -> None:
        """See `Director`."""
        self._director.overheard(outcome)
        self._counts("", "", "", "0").ended(outcome)

    def forget(self, authorities: Container[str]) -> None:
        """Drop the attempts at endpoints that are not among `authorities`."""
        self.attempts = {key: count for key, count in self.attempts.items() if not key[2] or key[2] in authorities}

    def _counts(self, model: str, target: str, flow: str, priority: str) -> RequestCounts:
        found = self.requests.get((model, target, flow, priority))
        if found is not None:
            return found
        labels = self._model(model), self._model(target), self._flow(flow), priority
        found = self.requests.get(labels)
        if found is None:
            if len(self.requests) >= MAX_SERIES:
                labels = OTHER, OTHER, OTHER, priority
            found = self.requests.setdefault(labels, RequestCounts())
        return found

    def _model(self, name: str) -> str:
        if name in self._models:
            return name
        if len(name) > MAX_NAME_CHARACTERS or len(self._models) >= MAX_SERIES:
            return OTHER
        if self._strange >= MAX_STRANGE_MODELS:
            if not self._serves(name):
                return OTHER
        elif not self._serves(name):
            self._strange += 1
        self._models.add(name)
        return name

    def _flow(self, name: str) -> str:
        if name in self._flows:
            return name
        if len(name) > MAX_NAME_CHARACTERS or len(self._flows) >= MAX_FLOWS:
            return OTHER
        self._flows.add(name)
        return name

    def _disaggregated(self, remote: RemoteWork, model: str) -> None:
        key = remote.plugin_name, remote.plugin_type, self._model(model) or UNKNOWN_MODEL, remote.decision_type
        self.disaggregated[key] = self.disaggregated.get(key, 0) + 1

    def _attempted(self, status: str, model: str, authority: str) -> None:
        key = status, model, authority
        if key not in self.attempts and len(self.attempts) >= MAX_ATTEMPTS:
            key = status, OTHER, ""
        self.attempts[key] = self.attempts.get(key, 0) + 1


def _flow(headers: Headers) -> str:
    for name in FAIRNESS_HEADERS:
        if flow := headers.get(name):
            return flow
    return UNNAMED_FLOW
