"""What the exchange hands to the director and what comes back: the picker's inner contract."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from infscale.endpoint import ObjectKey
from infscale.metrics.dispatch import Charge
from infscale.value import value
from picker.scheduling.memory import Promise

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

Framing = Literal["vllm", "vertex"]
"""Whose messages a gRPC request and its answer are made of: vLLM's engine, or Vertex AI's prediction service."""


class Headers:
    """Request or response headers in arrival order, names lower-cased; repeated names are kept."""

    __slots__ = ("_first", "_items")

    def __init__(self, items: tuple[tuple[str, bytes], ...]) -> None:
        self._items = items
        # One request is asked for a dozen names.
        self._first = dict(reversed(items))

    def get(self, name: str) -> str | None:
        """The first value of `name` (lower case) as text, None where absent. Undecodable bytes are replaced."""
        value = self._first.get(name)
        return None if value is None else value.decode("utf-8", "replace")

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


@value
class ParsedBody:
    """What scheduling needs of a request body.

    `prompt` is the bytes whose prefix the engines can share, in order (system prompt first); `prompt_tokens` is their
    estimated length. `has_model`: the body has the key ``model``, with text or null for its value. Where `needs_model`
    says that there must be a model and `model` is "", a rewrite has to supply it. `generates`: a successful answer
    means that the engine made tokens, which its metrics must show. `media` are hashes of the different images, sounds
    and films in it. `framing`: the body is a gRPC message, which passes on as it is, whatever a rewrite says; None: it
    is none.
    """

    api: Api
    model: str
    prompt: bytes
    prompt_tokens: int
    max_output_tokens: int | None = None
    cache_salt: str = ""
    has_model: bool = False
    needs_model: bool = False
    generates: bool = True
    media: tuple[int, ...] = ()
    framing: Framing | None = None


@value
class InferenceRequest:
    """One request as the director sees it.

    `body` None: the request has no body (a GET). `subset` is the gateway's hint: the authorities (or bare addresses)
    to pick from; None: no hint, empty: nothing may be picked. `size_bytes` is the body's.
    """

    request_id: str
    path: str
    headers: Headers
    body: ParsedBody | None
    subset: tuple[str, ...] | None = None
    size_bytes: int = 0


@value
class Decision:
    """Where a request goes.

    `destinations` is the ordered list of authorities: the first is the choice, the rest are fallbacks. `target_model`
    replaces the body's model when it differs from it. `scores` are the final scores of every candidate, for those who
    asked. `revision` is the store revision that was read, `pool` whose director decided. `charge` is released when the
    exchange ends, and `promise`, of its time per output token, is over then.
    """

    destinations: tuple[str, ...]
    target_model: str
    revision: str
    charge: Charge | None = None
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    priority: int = 0
    candidates: int = 0
    prefix_hit_ratio: float | None = None
    pool: ObjectKey | None = None
    promise: Promise | None = None


RejectionCode = Literal[
    "BadRequest",
    "NotFound",
    "PreconditionFailed",
    "PayloadTooLarge",
    "ResourceExhausted",
    "Internal",
    "ServiceUnavailable",
]


@dataclass(frozen=True, slots=True)
class Rejection:
    """An answer given at once instead of a destination.

    `message` is for the client and says what next; it quotes nothing the client sent. `dropped_reason` is the
    ``x-llm-d-request-dropped-reason`` header where the field has a name for it.
    """

    status: int
    code: RejectionCode
    message: str
    dropped_reason: str | None = None
    retry_after_seconds: float | None = None


@value
class Outcome:
    """How an exchange ended: completed, aborted by the client, or failed. `status` is the upstream's, if it came.

    Token counts are known only where response bodies pass through the picker.
    """

    kind: Literal["completed", "aborted", "error"]
    status: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    served: str | None = None
    first_byte_seconds: float | None = None
    duration_seconds: float = 0.0

    @property
    def failed(self) -> bool | None:
        """Whether the endpoint failed: a 5xx; None: the outcome is no verdict on it.

        A client that leaves early and a stream to the gateway that breaks say nothing of the endpoint, and neither
        does a status nobody saw.
        """
        if self.status is not None and self.status >= 500:
            return True
        return False if self.kind == "completed" and self.status is not None else None


class Director(Protocol):
    """Decides where requests go and keeps the books. Called from one thread; never blocks, never awaits."""

    def direct(self, request: InferenceRequest, now: float) -> Decision | Rejection:
        """Choose destinations for `request` and charge the first; `now` is monotonic seconds."""
        ...

    def response_started(self, decision: Decision, status: int | None, served: str | None, now: float) -> Decision:
        """Response headers came back; `served` is who answered, where the gateway says so.

        Returns the decision to end with: its charge is now with who answered.
        """
        ...

    def finished(self, request: InferenceRequest, decision: Decision, outcome: Outcome, now: float) -> None:
        """The exchange of `decision` is over; called exactly once for every decision."""
        ...
