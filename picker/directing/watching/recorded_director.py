"""A director whose requests are recorded once they have ended: when they came and how long they were."""

from dataclasses import dataclass
from typing import Final, Protocol

from infscale.endpoint import ObjectKey
from infscale.recording.recorded_request import RecordedRequest
from picker.request import Decision, Director, Headers, Held, InferenceRequest, Outcome, ParsedBody, Rejection, Verdict

_MOST_OPEN: Final = 100_000


class Recorder(Protocol):
    """Takes what is to be kept."""

    def prefixes(self, root: str, prompt: bytes) -> tuple[int, ...]:
        """Digests of the beginnings of `prompt`, as far as `root`, in which prompts are shared, has it."""
        ...

    def keep(self, request: RecordedRequest) -> None:
        """Keep `request`, whose arrival is given on the clock of decisions; returns at once."""
        ...


class Adapters(Protocol):
    """Knows LoRA adapters from base models."""

    def is_lora(self, pool: ObjectKey, model: str) -> bool:
        """Whether an endpoint of `pool` says now that `model` is a LoRA adapter."""
        ...


@dataclass(slots=True)
class _Arrival:
    """What is kept of a request while its answer is under way."""

    at: float
    prompt_tokens: int
    limit: int | None
    prefixes: tuple[int, ...]


class RecordedDirector:
    """Passes on to `director` and tells `recorder` of each request with a prompt.

    A request that is answered at once is told of at once, another when its exchange is over. Of more than 100,000 at a
    time the rest is passed over.
    """

    def __init__(self, director: Director, recorder: Recorder, adapters: Adapters) -> None:
        self._director = director
        self._recorder = recorder
        self._adapters = adapters
        # By the identity of the pick's record, which goes from a decision into those that replace it.
        self._open: dict[int, _Arrival] = {}

    def direct(self, request: InferenceRequest, now: float) -> Verdict | Held:
        """See `Director`."""
        verdict = self._director.direct(request, now)
        body = request.body
        if body is None or not body.generates or not body.prompt_tokens:
            return verdict
        if isinstance(verdict, Held):
            # It came now, whenever it is decided about.
            verdict.watch(lambda told: self._decided(body, told, now))
        else:
            self._decided(body, verdict, now)
        return verdict

    def _decided(self, body: ParsedBody, verdict: Verdict, now: float) -> None:
        if isinstance(verdict, Rejection):
            ended = Outcome("error", verdict.status)
            self._keep(self._arrival(body, body.model, now), body.model, 0, ended, "refused", lora=False)
        elif verdict.record is not None and len(self._open) < _MOST_OPEN:
            self._open[id(verdict.record)] = self._arrival(body, verdict.target_model, now)

    def refused(self, headers: Headers, body: ParsedBody | None, rejection: Rejection) -> None:
        """See `Director`."""
        self._director.refused(headers, body, rejection)

    def response_started(self, decision: Decision, status: int | None, served: str | None, now: float) -> Decision:
        """See `Director`."""
        return self._director.response_started(decision, status, served, now)

    def finished(self, request: InferenceRequest, decision: Decision, outcome: Outcome, now: float) -> None:
        """See `Director`."""
        arrival = self._open.pop(id(decision.record), None)
        self._director.finished(request, decision, outcome, now)
        if arrival is not None:
            # An adapter is on the page of its endpoint since its request came there, unless that was a moment ago.
            lora = decision.pool is not None and self._adapters.is_lora(decision.pool, decision.target_model)
            self._keep(arrival, decision.target_model, decision.priority, outcome, outcome.kind, lora=lora)

    def overheard(self, outcome: Outcome) -> None:
        """See `Director`."""
        self._director.overheard(outcome)

    def _arrival(self, body: ParsedBody, model: str, now: float) -> _Arrival:
        # The length keeps a model and a salt from being read as another model and another salt.
        prefixes = self._recorder.prefixes(f"{len(model)}:{model}{body.cache_salt}", body.prompt)
        return _Arrival(now, body.prompt_tokens, body.max_output_tokens, prefixes)

    def _keep(self, arrival: _Arrival, model: str, priority: int, outcome: Outcome, end: str, *, lora: bool) -> None:
        request = RecordedRequest(
            arrival.at,
            model,
            priority,
            outcome.prompt_tokens or arrival.prompt_tokens,
            outcome.completion_tokens,
            arrival.limit,
            arrival.prefixes,
            end,
            outcome.status,
            lora,
        )
        self._recorder.keep(request)
