"""A response body that passes through the picker: what is read from it, and what is passed on."""

from typing import Final, Literal

from infscale.framing.length_prefixed import Messages
from infscale.framing.line_buffer import LineBuffer
from infscale.framing.pieces import Pieces
from infscale.frozen_values import value
from picker.request import Headers, ParsedBody
from picker.response.grpc_messages import FrameUsageReader
from picker.response.restore import DocumentRestorer, EventRestorer
from picker.response.usage import Usage, UsageReader, may_say_usage

_EVENT_ENDS: Final = (b"\n\n", b"\r\n\r\n")
# A longer document passes on unread; its usage stays unknown.
_LONGEST_DOCUMENT_BYTES: Final = 4 << 20
# Longer messages, and compressed ones, are passed over.
_LONGEST_MESSAGE_BYTES: Final = 4 << 20


@value
class BodyPlan:
    """How to treat a response body, decided by its headers.

    `restore` is (name sent to the model server, name the client asked for); None: nothing to restore. `buffered`:
    pass nothing on before the end. `frames` reads the gRPC messages of a body of the kind "frames". `encoded`: the body
    has a content encoding.
    """

    kind: Literal["opaque", "events", "document", "frames"]
    restore: tuple[str, str] | None = None
    buffered: bool = False
    frames: FrameUsageReader | None = None
    encoded: bool = False

    @classmethod
    def of(
        cls,
        headers: Headers,
        restore: tuple[str, str] | None,
        buffered: bool = False,
        request: ParsedBody | None = None,
        asked: bool = True,
    ) -> "BodyPlan":
        """The plan for a response with these headers to `request`; encoded bodies and unknown types pass on unread.

        `asked`: a decision was asked for the request; else no more is known of it than its path.
        """
        content_type = (headers.get("content-type") or "").lower()
        encoded = (headers.get("content-encoding") or "identity").lower() != "identity"
        if encoded:
            return cls("opaque", None, buffered, encoded=True)
        if "text/event-stream" in content_type:
            return cls("events", restore)
        if "json" in content_type:
            return cls("document", restore, buffered)
        if request is not None and request.framing is not None and content_type.startswith("application/grpc"):
            reader = FrameUsageReader(request.framing, embeds=request.api == "embeddings")
            # Each message of a stream is worth something at once.
            return cls("frames", None, buffered and not asked, reader)
        return cls("opaque", None, buffered)


class VisibleBody:
    """Reads one response body as it passes. `usage` is complete once the body has ended."""

    __slots__ = (
        "_buffered",
        "_document",
        "_document_bytes",
        "_events_restorer",
        "_frames",
        "_lines",
        "_plan",
        "_reader",
        "_restorer",
    )

    def __init__(self, plan: BodyPlan) -> None:
        self._plan = plan
        self._reader = UsageReader()
        self._lines = LineBuffer()
        self._frames = Messages(_LONGEST_MESSAGE_BYTES) if plan.frames is not None else None
        self._restorer = DocumentRestorer(*plan.restore) if plan.restore and plan.kind == "document" else None
        self._events_restorer = EventRestorer(*plan.restore) if plan.restore and plan.kind == "events" else None
        self._document = Pieces()
        self._document_bytes = 0
        self._buffered = Pieces()

    @property
    def usage(self) -> Usage:
        """Token usage read so far."""
        return self._reader.usage if self._plan.frames is None else self._plan.frames.usage

    @property
    def unread(self) -> bool:
        """Whether it is in an encoding that is not read, so that its usage stays unknown."""
        return self._plan.encoded

    @property
    def held_bytes(self) -> int:
        """What is kept of the body, to be read or passed on at its end."""
        return self._document.size_bytes + self._buffered.size_bytes

    def feed(self, chunk: bytes) -> bytes:
        """What to pass on now that `chunk` has come."""
        if self._plan.kind == "events":
            out = chunk if self._says_nothing(chunk) else self._events(chunk, self._lines.feed(chunk))
        elif self._plan.kind == "document":
            out = self._read_document(chunk)
        else:
            out = chunk
            self._read_frames(chunk)
        if not self._plan.buffered:
            return out
        self._buffered.add(out)
        return b""

    def end(self) -> bytes:
        """What remains to be passed on: the body ended, or its trailers came."""
        rest = b""
        if self._plan.kind == "events":
            unfinished = self._lines.rest()
            rest = self._events(b"", [unfinished] if unfinished else [])
            self._reader.ended()
            if self._events_restorer is not None:
                rest += self._events_restorer.rest()
        elif self._plan.kind == "document":
            self._reader.document(self._document.take())
            rest = self._restorer.rest() if self._restorer else b""
        elif self._plan.frames is not None:
            self._plan.frames.end()
        return self._buffered.take() + rest

    def _says_nothing(self, chunk: bytes) -> bool:
        """Whether `chunk` is whole events in which there is nothing to read or to restore, as most are."""
        whole = chunk.endswith(_EVENT_ENDS) and self._lines.empty and not self._reader.within_event
        return whole and self._events_restorer is None and not may_say_usage(chunk)

    def _events(self, chunk: bytes, lines: list[bytes]) -> bytes:
        for line in lines:
            self._reader.line(line)
        if self._events_restorer is None:
            return chunk
        return b"".join([self._events_restorer.line(line) for line in lines])

    def _read_frames(self, chunk: bytes) -> None:
        if self._frames is None or self._plan.frames is None:
            return
        for message in self._frames.feed(chunk):
            self._plan.frames.message(message)

    def _read_document(self, chunk: bytes) -> bytes:
        self._document_bytes += len(chunk)
        if self._document_bytes <= _LONGEST_DOCUMENT_BYTES:
            self._document.add(chunk)
        else:
            self._document.clear()
        return self._restorer.feed(chunk) if self._restorer else chunk
