"""Where a request may go instead of its own pool or model, when, and what it is asked for there."""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from infscale.endpoint import ObjectKey
from picker.directing.pool_directors import POOL_HEADER
from picker.directing.rewrite import REWRITE_HEADERS
from picker.request import Fallback, InferenceRequest, ParsedBody, Reason

_POOL_HEADERS: Final = frozenset({POOL_HEADER})
_MODEL_HEADERS: Final = frozenset(REWRITE_HEADERS)


class FallbackReason(enum.StrEnum):
    """Why a request goes elsewhere; the label `reason` of what is counted, and what clients are told."""

    UNAVAILABLE = "unavailable"
    """No endpoint of its pool may get it: there is none, they seem dead, or nothing is left by filters."""
    WAITED = "waited"
    """It has waited for as long as a request waits before it goes there."""
    FORECAST = "forecast"
    """It would have waited for longer than that."""
    REFUSED = "refused"
    """Its pool is full and does not let it wait, or not any longer."""


_UNAVAILABLE: Final = (
    *(Reason.NO_ENDPOINTS, Reason.UNKNOWN_LOAD, Reason.ASLEEP, Reason.SCREENED_OUT, Reason.FILTERED_OUT),
)
_FULL: Final = (Reason.SATURATED, Reason.NO_ROOM, Reason.QUEUE_FULL, Reason.WAITED, Reason.DEADLINE)
REASONS: Final[Mapping[Reason, FallbackReason]] = {
    **dict.fromkeys(_UNAVAILABLE, FallbackReason.UNAVAILABLE),
    **dict.fromkeys(_FULL, FallbackReason.REFUSED),
}
"""The refusals of its own pool after which a request may go elsewhere; what is the client's fault is not among them."""


@dataclass(frozen=True, slots=True)
class FallbackTarget:
    """One place for requests of a pool: another pool, another model, or both.

    `model` None: the one asked for. It is for requests of `models` (none: of all). A request goes there where its own
    pool has no endpoint for it; with `after_seconds` also when it has waited for so long, or is expected to. At most
    `max_requests` of one pool are there at a time, and no more than `max_share` of what the pool takes: its ready
    endpoints × `max_in_flight_requests` of its saturation.
    """

    pool: ObjectKey
    model: str | None = None
    models: frozenset[str] = frozenset()
    after_seconds: float | None = None
    max_requests: int | None = None
    max_share: float | None = None

    @property
    def name(self) -> str:
        """What it is called in metrics and records."""
        return str(self.pool) if self.model is None else f"{self.pool} as {self.model}"

    def takes(self, request: InferenceRequest) -> bool:
        """Whether `request` may go there: the model of a body that cannot be rewritten stays."""
        body = request.body
        if body is None:
            return self.model is None and not self.models
        if self.model is not None and (body.api == "opaque" or body.framing is not None):
            return False
        return not self.models or body.model in self.models

    def after(self, why: FallbackReason) -> bool:
        """Whether a request goes there for `why`: load alone moves it only where a time is said."""
        return why is FallbackReason.UNAVAILABLE or self.after_seconds is not None

    def asked(self, request: InferenceRequest, priority: int | None) -> InferenceRequest:
        """`request`, of that priority in its own pool, as it is asked of this target."""
        headers = request.headers.without(_POOL_HEADERS | (_MODEL_HEADERS if self.model is not None else frozenset()))
        return InferenceRequest(
            request.request_id,
            request.path,
            type(headers)([*headers, (POOL_HEADER, str(self.pool).encode())]),
            _renamed(request.body, self.model),
            request.subset,
            request.size_bytes,
            priority=priority,
        )

    def fallback(self, own: ObjectKey, why: FallbackReason) -> Fallback:
        """What is told of a request for the pool `own` that goes there; a structured field (RFC 9651), a dictionary."""
        parts = [] if self.pool == own else [f'pool="{self.pool}"']
        if self.model is not None:
            parts.append(f'model="{self.model}"')
        return Fallback(self.model or "", ", ".join([*parts, f"reason={why.value}"]).encode())

    def words(self, own: ObjectKey, why: FallbackReason) -> str:
        """The same for people, in explanations."""
        return _WORDS[why].format(pool=own)


_WORDS: Final[Mapping[FallbackReason, str]] = {
    FallbackReason.UNAVAILABLE: "instead of pool {pool}, which has no endpoint for it",
    FallbackReason.WAITED: "instead of pool {pool}, where it has waited for too long",
    FallbackReason.FORECAST: "instead of pool {pool}, where it would wait for too long",
    FallbackReason.REFUSED: "instead of pool {pool}, which is full",
}

Targets = Mapping[ObjectKey, Sequence[FallbackTarget]]
"""By the pool that requests are for, in the order in which they are tried."""


def _renamed(body: ParsedBody | None, model: str | None) -> ParsedBody | None:
    if body is None or model is None:
        return body
    return ParsedBody(
        body.api,
        model,
        body.prompt,
        body.prompt_tokens,
        body.max_output_tokens,
        body.cache_salt,
        body.has_model,
        body.needs_model,
        body.generates,
        body.media,
        body.framing,
    )
