"""What the exchange sends when it has decided: the request's answer, in the order the protocol demands."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

from picker.ext_proc.exchange_settings import ExchangeSettings
from picker.ext_proc.headers import (
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    DESTINATION,
    DESTINATION_SCORES,
    FALLBACK,
    REQUEST_ID,
    echoed,
)
from picker.ext_proc.messages import BodyReply, HeadersReply, LbMetadata, Send, Side, TrailersReply
from picker.parsing import with_model
from picker.request import Decision, InferenceRequest

# Envoy takes pieces of at most 64 KiB in streamed modes; this is the size the field uses.
PIECE_BYTES: Final = 62_000


@dataclass(slots=True, unsafe_hash=True, init=False)
class WholeBody:
    """A request body in full; `in_trailers`: trailers end the request, not its last piece.

    `plain` is what it is without its content encodings; None: it has none. `model_span` is where the name of the model
    stands in that, where it is known.
    """

    content: Final[bytes]
    in_trailers: Final[bool]
    plain: Final[bytes | None]
    model_span: Final[tuple[int, int] | None]

    def __init__(
        self,
        content: bytes,
        in_trailers: bool = False,
        plain: bytes | None = None,
        model_span: tuple[int, int] | None = None,
    ) -> None:
        self.content = content
        self.in_trailers = in_trailers
        self.plain = plain
        self.model_span = model_span


def route_replies(
    settings: ExchangeSettings, request: InferenceRequest, decision: Decision, body: WholeBody | None
) -> list[Send]:
    """The answers that send `request` to its destinations, its body in one piece: `cut` makes those that gateways take.

    `body` None: there is none to pass on now.
    """
    content = _content(request, decision, body) if body else None
    # What was rewritten is no longer in the encoding it came in.
    rewritten = body is not None and body.plain is not None and content is not body.content
    sends: list[Send] = [_headers_reply(settings, request, decision, content, rewritten)]
    if body is None or content is None:
        return sends
    if content or not body.in_trailers:
        sends.append(BodyReply("request", content, not body.in_trailers))
    if body.in_trailers:
        sends.append(TrailersReply("request"))
    return sends


def cut(sends: list[Send]) -> Generator[Send, None, None]:
    """`sends` with bodies in pieces that a gateway accepts, each cut when it is asked for."""
    for each in sends:
        if not isinstance(each, BodyReply) or len(each.body) <= PIECE_BYTES:
            yield each
            continue
        stop = len(each.body)
        for start in range(0, stop, PIECE_BYTES):
            ends = each.end_of_stream and start + PIECE_BYTES >= stop
            yield BodyReply(each.side, each.body[start : start + PIECE_BYTES], ends)


def pieces(side: Side, body: bytes, *, end_of_stream: bool) -> list[Send]:
    """`body` in pieces a gateway accepts, at least one; `end_of_stream` is on the last."""
    whole = BodyReply(side, body, end_of_stream)
    return [whole] if len(body) <= PIECE_BYTES else list(cut([whole]))


def _content(request: InferenceRequest, decision: Decision, body: WholeBody) -> bytes:
    parsed, target = request.body, decision.target_model
    if parsed is None or parsed.api == "opaque" or parsed.framing or target in ("", parsed.model):
        return body.content
    plain = body.content if body.plain is None else body.plain
    return with_model(plain, target, named=parsed.has_model, span=body.model_span)


def _headers_reply(
    settings: ExchangeSettings, request: InferenceRequest, decision: Decision, content: bytes | None, decoded: bool
) -> HeadersReply:
    destination = ",".join(decision.destinations[: settings.destination_count])
    headers = [(DESTINATION, destination.encode())]
    if content is not None:
        headers.append((CONTENT_LENGTH, b"%d" % len(content)))
    if request.headers.get(REQUEST_ID) is None:
        headers.append((REQUEST_ID, request.request_id.encode()))
    if decision.fallback is not None:
        headers.append((FALLBACK, decision.fallback.told))
    if settings.echo_request_headers and content is not None:
        headers += [item for item in echoed(request.headers) if not decoded or item[0] != CONTENT_ENCODING]
    metadata: dict[str, str | dict[str, float]] = {DESTINATION: destination}
    if decision.scores:
        metadata[DESTINATION_SCORES] = dict(decision.scores)
    lb_metadata: LbMetadata = metadata
    removed: tuple[str, ...] = (CONTENT_ENCODING,) if decoded else ()
    if decision.remote is not None:
        headers += decision.remote.headers
        removed += decision.remote.unset_headers
    revision = decision.revision if settings.tell_revision else ""
    return HeadersReply("request", tuple(headers), removed, True, lb_metadata, revision)
