"""What the exchange hands to the director and what comes back: the picker's inner contract."""

import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from infscale.endpoint import ObjectKey
from infscale.metrics.store.dispatch import Charge
from infscale.rollouts.running_rollout import RolloutShare
from picker.pick_record import NO_SCORES, PickRecord
from picker.recall import Recall
from picker.remote_work import RemoteWork
from picker.sessions.claims import SessionClaim

Api = Literal[
    "chat_completions",
    "completions",
    "embeddings",
    "responses",
    "conversations",
    "images",
    "messages",
    "vllm_generate",
    "sglang_generate",
    "opaque",
]

OutcomeKind = Literal["completed", "aborted", "error", "evicted"]

Framing = Literal["vllm", "vertex"]
"""Whose messages a gRPC request and its answer are made of: vLLM's engine, or Vertex AI's prediction service."""

KEPT_VALUE_BYTES: Final = 128
"""How long a header may be that is kept beyond its request."""

REMEMBERED_PROMPT_BYTES: Final = 16_384
"""How much of a prompt is kept while its response is under way, to be learned where the gateway sent it elsewhere."""


class Headers:
    """Request or response headers in arrival order, names lower-cased; repeated names are kept."""

    __slots__ = ("_first", "_names", "_repeat", "_values")

    def __init__(self, items: Sequence[tuple[str, bytes]] = ()) -> None:
        self._fill([name for name, _ in items], [value for _, value in items])

    @staticmethod
    def of(names: list[str], values: list[bytes]) -> "Headers":
        """The headers of these names and their values."""
        headers = Headers()
        headers._fill(names, values)
        return headers

    def _fill(self, names: list[str], values: list[bytes]) -> None:
        self._names = names
        self._values = values
        # One request is asked for a dozen names.
        first: dict[str, bytes] = {}
        for place, name in enumerate(names):
            if name not in first:
                first[name] = values[place]
        self._first = first
        self._repeat = len(first) < len(names)

    def get(self, name: str) -> str | None:
        """The value of `name` (lower case) as text, None where absent. Undecodable bytes are replaced.

        Values of a repeated name are one list with commas (RFC 9110, section 5.2): what a client sends beside what a
        gateway sets takes its place nowhere.
        """
        value = self._first.get(name)
        if value is None:
            return None
        if self._repeat:
            value = b",".join([each for other, each in self if other == name])
        return value.decode("utf-8", "replace")

    def single(self, name: str) -> str | None:
        """As `get`; None also where the name is repeated, for what is no list."""
        if self._repeat and self._names.count(name) > 1:
            return None
        return self.get(name)

    def without(self, names: frozenset[str]) -> "Headers":
        """The headers but those of `names`; these same ones where there is none of them."""
        if names.isdisjoint(self._first):
            return self
        return Headers([item for item in self if item[0] not in names])

    def only(self, names: frozenset[str]) -> "Headers":
        """The headers of `names` alone, without any whose value is longer than `KEPT_VALUE_BYTES`."""
        if names.isdisjoint(self._first):
            return NO_HEADERS
        return Headers([item for item in self if item[0] in names and len(item[1]) <= KEPT_VALUE_BYTES])

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        return iter(zip(self._names, self._values, strict=True))

    def __len__(self) -> int:
        return len(self._names)


NO_HEADERS: Final = Headers(())


@dataclass(slots=True, unsafe_hash=True, init=False)
class ParsedBody:
    """What scheduling needs of a request body.

    `prompt` is the bytes whose prefix the engines can share, in order (system prompt first); `prompt_tokens` is their
    estimated length. `has_model`: the body has the key ``model``, with text or null for its value. Where `needs_model`
    says that there must be a model and `model` is "", a rewrite has to supply it. `generates`: a successful answer
    means that the engine made tokens, which its metrics must show. `media` are hashes of the different images, sounds
    and films in it. `framing`: the body is a gRPC message, which passes on as it is, whatever a rewrite says; None: it
    is none.
    """

    api: Final[Api]
    model: Final[str]
    prompt: Final[bytes]
    prompt_tokens: Final[int]
    max_output_tokens: Final[int | None]
    cache_salt: Final[str]
    has_model: Final[bool]
    needs_model: Final[bool]
    generates: Final[bool]
    media: Final[tuple[int, ...]]
    framing: Final[Framing | None]

    def __init__(  # noqa: PLR0913 # one for each field
        self,
        api: Api,
        model: str,
        prompt: bytes,
        prompt_tokens: int,
        max_output_tokens: int | None = None,
        cache_salt: str = "",
        has_model: bool = False,
        needs_model: bool = False,
        generates: bool = True,
        media: tuple[int, ...] = (),
        framing: Framing | None = None,
    ) -> None:
        self.api = api
        self.model = model
        self.prompt = prompt
        self.prompt_tokens = prompt_tokens
        self.max_output_tokens = max_output_tokens
        self.cache_salt = cache_salt
        self.has_model = has_model
        self.needs_model = needs_model
        self.generates = generates
        self.media = media
        self.framing = framing


@dataclass(slots=True, unsafe_hash=True, init=False)
class InferenceRequest:
    """One request as the director sees it.

    `body` None: the request has no body (a GET). `subset` is the gateway's hint: the authorities (or bare addresses)
    to pick from; None: no hint, empty: nothing may be picked. `size_bytes` is the body's. `waits`: it stands in a
    queue and is asked about again, so that a refusal is not its answer yet. `priority` is what the pool gave it that it
    was for, where it is asked of another one instead.
    """

    request_id: Final[str]
    path: Final[str]
    headers: Final[Headers]
    body: Final[ParsedBody | None]
    subset: Final[tuple[str, ...] | None]
    size_bytes: Final[int]
    waits: Final[bool]
    priority: Final[int | None]

    def __init__(  # noqa: PLR0913 # one for each field
        self,
        request_id: str,
        path: str,
        headers: Headers,
        body: ParsedBody | None,
        subset: tuple[str, ...] | None = None,
        size_bytes: int = 0,
        *,
        waits: bool = False,
        priority: int | None = None,
    ) -> None:
        self.request_id = request_id
        self.path = path
        self.headers = headers
        self.body = body
        self.subset = subset
        self.size_bytes = size_bytes
        self.waits = waits
        self.priority = priority

    def waiting(self) -> "InferenceRequest":
        """The same request while it stands in a queue."""
        return InferenceRequest(
            self.request_id,
            self.path,
            self.headers,
            self.body,
            self.subset,
            self.size_bytes,
            waits=True,
            priority=self.priority,
        )

    def remembered(self) -> "InferenceRequest":
        """The request as it is kept until its response has ended: of a long prompt, the beginning."""
        body = self.body
        if body is None or len(body.prompt) <= REMEMBERED_PROMPT_BYTES:
            return self
        # Field by field: a request makes them, and the compiler does that fast.
        beginning = ParsedBody(
            body.api,
            body.model,
            body.prompt[:REMEMBERED_PROMPT_BYTES],
            body.prompt_tokens,
            body.max_output_tokens,
            body.cache_salt,
            body.has_model,
            body.needs_model,
            body.generates,
            body.media,
            body.framing,
        )
        return InferenceRequest(self.request_id, self.path, self.headers, beginning, self.subset, self.size_bytes)


@dataclass(slots=True, eq=False)
class Fallback:
    """That a request goes elsewhere than to the pool, or to another model than, it was for.

    `model` is the name that its answer has instead of the one asked for, "" where the model is the same. `told` is what
    client and endpoint are told in a header.
    """

    model: str
    told: bytes


@dataclass(slots=True, eq=False)
class Promise:
    """What a request in flight was promised: so many seconds per output token, by the endpoint at `authority`."""

    authority: str
    seconds_per_token: float


class GpuCost:
    """What a request costs in GPU seconds: its prefill, and each token of its answer by its share in the batch.

    `output_tokens` are expected, one in each `step_seconds`. `spent_seconds` is what a request had cost that was taken
    back, None where it was not.
    """

    __slots__ = ("output_tokens", "prefill_seconds", "spent_seconds", "step_seconds", "token_seconds")

    def __init__(self, prefill_seconds: float, token_seconds: float, output_tokens: float, step_seconds: float) -> None:
        self.prefill_seconds = prefill_seconds
        self.token_seconds = token_seconds
        self.output_tokens = output_tokens
        self.step_seconds = step_seconds
        self.spent_seconds: float | None = None

    @property
    def seconds(self) -> float:
        """What it is expected to cost."""
        return self.prefill_seconds + self.token_seconds * self.output_tokens

    def settled(self, outcome: "Outcome") -> float:
        """What it has cost, as far as `outcome` tells.

        A refusal by the endpoint costs nothing. An answer that was given up has as many tokens as there were steps
        since it began, the prefill alone where it did not begin.
        """
        if outcome.status is not None and not 200 <= outcome.status < 300:
            return 0.0
        if self.spent_seconds is not None:
            return self.spent_seconds
        tokens = self.output_tokens
        if outcome.completion_tokens is not None:
            tokens = float(outcome.completion_tokens)
        elif outcome.first_byte_seconds is None:
            tokens = 0.0
        elif outcome.kind != "completed":
            tokens = min(tokens, (outcome.duration_seconds - outcome.first_byte_seconds) / self.step_seconds)
        return self.prefill_seconds + self.token_seconds * tokens


@dataclass(slots=True, unsafe_hash=True, init=False)
class Decision:
    """Where a request goes.

    `destinations` is the ordered list of authorities: the first is the choice, the rest are fallbacks. `target_model`
    replaces the body's model when it differs from it. `scores` are the final scores of every candidate, where they
    were asked for. `revision` is the store revision that was read, `pool` the one of the director that decided.
    `charge` is released when the exchange ends, and `promise`, of its time per output token, is over then.
    `response_headers` (lower case) are set in the response. `record` is what is kept of it for `/debug/picks`.
    `sessions` are those that were placed with it. `cost` is what the request takes of the endpoint, where that is
    worked out. By `recall` it can be taken back, where it may. `remote` is what is done for it elsewhere than at its
    destination; None: its scheduling knows of no such thing. `fallback` is there where it goes elsewhere than it was
    to. `share` is its part in a rollout.
    """

    destinations: Final[tuple[str, ...]]
    target_model: Final[str]
    revision: Final[str]
    charge: Final[Charge | None]
    scores: Final[Mapping[str, float]]
    priority: Final[int]
    candidates: Final[int]
    prefix_hit_ratio: Final[float | None]
    pool: Final[ObjectKey | None]
    promise: Final[Promise | None]
    response_headers: Final[tuple[tuple[str, bytes], ...]]
    record: Final[PickRecord | None]
    sessions: Final[tuple[SessionClaim, ...]]
    cost: Final[GpuCost | None]
    recall: Final[Recall | None]
    remote: Final[RemoteWork | None]
    fallback: Final[Fallback | None]
    share: Final[RolloutShare | None]

    def __init__(  # noqa: PLR0913 # one for each field
        self,
        destinations: tuple[str, ...],
        target_model: str,
        revision: str,
        charge: Charge | None = None,
        scores: Mapping[str, float] = NO_SCORES,
        priority: int = 0,
        candidates: int = 0,
        prefix_hit_ratio: float | None = None,
        pool: ObjectKey | None = None,
        promise: Promise | None = None,
        response_headers: tuple[tuple[str, bytes], ...] = (),
        record: PickRecord | None = None,
        sessions: tuple[SessionClaim, ...] = (),
        cost: GpuCost | None = None,
        recall: Recall | None = None,
        remote: RemoteWork | None = None,
        fallback: Fallback | None = None,
        share: RolloutShare | None = None,
    ) -> None:
        self.destinations = destinations
        self.target_model = target_model
        self.revision = revision
        self.charge = charge
        self.scores = scores
        self.priority = priority
        self.candidates = candidates
        self.prefix_hit_ratio = prefix_hit_ratio
        self.pool = pool
        self.promise = promise
        self.response_headers = response_headers
        self.record = record
        self.sessions = sessions
        self.cost = cost
        self.recall = recall
        self.remote = remote
        self.fallback = fallback
        self.share = share


RejectionCode = Literal[
    "BadRequest",
    "NotFound",
    "PreconditionFailed",
    "RequestTimeout",
    "PayloadTooLarge",
    "UnsupportedMediaType",
    "ResourceExhausted",
    "Internal",
    "ServiceUnavailable",
]


STATUS_OF_CODE: Final[Mapping[str, int]] = {
    "BadRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "RequestTimeout": 408,
    "PreconditionFailed": 412,
    "PayloadTooLarge": 413,
    "UnsupportedMediaType": 415,
    "ResourceExhausted": 429,
    "Internal": 500,
    "ServiceUnavailable": 503,
}


class Reason(enum.StrEnum):
    """Why a request is answered at once; the label `reason` of what is counted, so there are these and no others."""

    INVALID_JSON = "invalid_json"
    """The body is no JSON object, or one that is nested too deeply."""
    INVALID_REQUEST = "invalid_request"
    """A field that the API needs is missing or has another form, or a gRPC message is not what its method takes."""
    MISSING_MODEL = "missing_model"
    UNSUPPORTED_ENCODING = "unsupported_encoding"
    """The body has a content encoding that is not read."""
    INVALID_ENCODING = "invalid_encoding"
    """The body is not in the content encoding that its header names."""
    BODY_TOO_LARGE = "body_too_large"
    BODY_BUDGET = "body_budget"
    """There is no room for the body beside those of other requests."""
    BODY_TIMEOUT = "body_timeout"
    """The body stopped arriving."""
    UNKNOWN_PATH = "unknown_path"
    UNKNOWN_POOL = "unknown_pool"
    UNKNOWN_MODEL = "unknown_model"
    NO_ENDPOINTS = "no_endpoints"
    """No endpoint is ready, or none of those that the gateway names."""
    UNKNOWN_LOAD = "unknown_load"
    """Endpoints are ready, and the load of none is known."""
    ASLEEP = "asleep"
    """Endpoints are ready, and all of them say that they sleep."""
    SCREENED_OUT = "screened_out"
    """Screeners left no candidate."""
    FILTERED_OUT = "filtered_out"
    """Filters left no candidate."""
    SATURATED = "saturated"
    """A sheddable request there is no room for."""
    NO_ROOM = "no_room"
    """No endpoint can take the request now without missing what is to be kept."""
    QUEUE_FULL = "queue_full"
    """The request would have to wait, and as many wait already as may."""
    EVICTED = "evicted"
    """The request was taken back in flight, for one of higher priority."""
    WAITED = "waited"
    """The request has waited for as long as it may, or as long as it makes sense."""
    DEADLINE = "deadline"
    """The request would have to wait, and for longer than it wants to or may."""
    SHUTTING_DOWN = "shutting_down"
    INTERNAL = "internal"
    """The exchange failed before anything was decided; the gateway answers for it."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """An answer given at once instead of a destination.

    `message` is for the client and says what next; it quotes nothing the client sent. `reason` is what it is counted
    under. `dropped_reason` is the ``x-llm-d-request-dropped-reason`` header where the field has a name for it. `lane`
    is that of a request which may wait for room (`picker.flow.lanes`), "" of any other.
    """

    code: RejectionCode
    message: str
    reason: Reason
    dropped_reason: str | None = None
    retry_after_seconds: float | None = None
    lane: str = ""

    @property
    def status(self) -> int:
        """The HTTP status that belongs to its code."""
        return STATUS_OF_CODE[self.code]


@dataclass(slots=True, unsafe_hash=True, init=False)
class Outcome:
    """How an exchange ended: completed, aborted by the client, failed, or evicted, by the picker for another request.

    `status` is the upstream's, if it came.

    Token counts and `size_bytes`, the body's, are known only where response bodies pass through the picker; `unread`:
    one did in an encoding that is not read. `streamed`: the answer is a stream of events.
    """

    kind: Final[OutcomeKind]
    status: Final[int | None]
    prompt_tokens: Final[int | None]
    completion_tokens: Final[int | None]
    cached_tokens: Final[int | None]
    served: Final[str | None]
    first_byte_seconds: Final[float | None]
    duration_seconds: Final[float]
    size_bytes: Final[int | None]
    streamed: Final[bool]
    unread: Final[bool]

    def __init__(  # noqa: PLR0913 # one for each field
        self,
        kind: OutcomeKind,
        status: int | None = None,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
        cached_tokens: int | None = None,
        served: str | None = None,
        first_byte_seconds: float | None = None,
        duration_seconds: float = 0.0,
        size_bytes: int | None = None,
        streamed: bool = False,
        unread: bool = False,
    ) -> None:
        self.kind = kind
        self.status = status
        self.prompt_tokens = prompt_tokens
        self.completion_tokens = completion_tokens
        self.cached_tokens = cached_tokens
        self.served = served
        self.first_byte_seconds = first_byte_seconds
        self.duration_seconds = duration_seconds
        self.size_bytes = size_bytes
        self.streamed = streamed
        self.unread = unread

    @property
    def failed(self) -> bool | None:
        """Whether the endpoint failed: a 5xx; None: the outcome is no verdict on it.

        A client that leaves early and a stream to the gateway that breaks say nothing of the endpoint, and neither
        does a status that was not seen.
        """
        if self.status is not None and self.status >= 500:
            return True
        return False if self.kind == "completed" and self.status is not None else None


Verdict = Decision | Rejection
"""What becomes of a request once nothing keeps it waiting."""


class Held:
    """A request that waits for its verdict.

    What holds it calls `resolve` once, as long as it is `waiting`. `given_up` is called if the request stops waiting
    before that: its client has left, its gateway has answered, or its exchange has ended.
    """

    __slots__ = ("_given_up", "_listener", "_watcher", "expected_seconds", "moves", "waiting")

    def __init__(self, given_up: Callable[[], None], expected_seconds: float | None = None) -> None:
        self._given_up = given_up
        self._watcher: Callable[[Verdict], None] | None = None
        self._listener: Callable[[Verdict], None] | None = None
        self.waiting = True
        """Whether a verdict is still wanted."""
        self.expected_seconds = expected_seconds
        """How long it is expected to wait, from when it began; None: that is not known."""
        self.moves = False
        """Whether it is given up because it goes elsewhere, and not because its client has left."""

    def listen(self, listener: Callable[[Verdict], None]) -> None:
        """Have `listener` told of the verdict: what carries the exchange."""
        self._listener = listener

    def watch(self, watcher: Callable[[Verdict], None]) -> None:
        """Have `watcher` told of the verdict before the listener: what stands around the director that holds."""
        self._watcher = watcher

    def resolve(self, verdict: Verdict) -> None:
        """Tell the verdict. Raises ValueError where none is wanted: a decision would have no end."""
        listener, self._listener = self._listener, None
        if not self.waiting or listener is None:
            raise ValueError("the request does not wait")
        self.waiting = False
        if self._watcher is not None:
            self._watcher(verdict)
        listener(verdict)

    def give_up(self) -> None:
        """The request waits no longer. Harmless when repeated, and after the verdict."""
        if self.waiting:
            self.waiting = False
            self._listener = None
            self._given_up()


class Director(Protocol):
    """Decides where requests go and keeps the books. Called from one thread; never blocks, never awaits."""

    def direct(self, request: InferenceRequest, now: float) -> Verdict | Held:
        """Choose destinations for `request` and charge the first, or hold it; `now` is monotonic seconds."""
        ...

    def refused(self, headers: Headers, body: ParsedBody | None, rejection: Rejection) -> None:
        """A request was answered with `rejection`, by this director's word or before it was asked: it is counted.

        Called exactly once for every such request; `body` is None where it has none, or none that could be read.
        """
        ...

    def response_started(self, decision: Decision, status: int | None, served: str | None, now: float) -> Decision:
        """Response headers came back; `served` is the endpoint that answered, where the gateway says so.

        Returns the decision to end with: its charge is now with the endpoint that answered.
        """
        ...

    def finished(self, request: InferenceRequest, decision: Decision, outcome: Outcome, now: float) -> None:
        """The exchange of `decision` is over; called exactly once for every decision."""
        ...

    def overheard(self, outcome: Outcome) -> None:
        """A response passed by in full view of which no decision was asked: there is nothing to book."""
        ...


class PromptDirector(Director, Protocol):
    """A director that lets no request wait: what observes verdicts stands around one, and a queue around both."""

    def direct(self, request: InferenceRequest, now: float) -> Verdict:
        """See `Director`."""
        ...
