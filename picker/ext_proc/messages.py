"""The vocabulary between a transport and the exchange: what the gateway says, and what is sent back."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from infscale.frozen_values import value
from picker.request import Headers

Side = Literal["request", "response"]
LbMetadata = Mapping[str, str | Mapping[str, float]]
HeaderItems = tuple[tuple[str, bytes], ...]


class BodyMode(enum.Enum):
    """How the gateway shows bodies to the picker (Envoy's `BodySendMode`)."""

    NONE = 0
    STREAMED = 1
    BUFFERED = 2
    BUFFERED_PARTIAL = 3
    FULL_DUPLEX_STREAMED = 4
    GRPC = 5


@dataclass(slots=True, unsafe_hash=True, init=False)
class RequestHeaders:
    """The request's headers; `end_of_stream`: neither body nor trailers follow."""

    headers: Final[Headers]
    end_of_stream: Final[bool]

    def __init__(self, headers: Headers, end_of_stream: bool = False) -> None:
        self.headers = headers
        self.end_of_stream = end_of_stream


@dataclass(slots=True, unsafe_hash=True, init=False)
class RequestBody:
    """A piece of the request's body."""

    body: Final[bytes]
    end_of_stream: Final[bool]

    def __init__(self, body: bytes, end_of_stream: bool = False) -> None:
        self.body = body
        self.end_of_stream = end_of_stream


@value
class RequestTrailers:
    """The request's trailers, which end it."""


@dataclass(slots=True, unsafe_hash=True, init=False)
class ResponseHeaders:
    """The response's headers; `end_of_stream`: neither body nor trailers follow."""

    headers: Final[Headers]
    end_of_stream: Final[bool]

    def __init__(self, headers: Headers, end_of_stream: bool = False) -> None:
        self.headers = headers
        self.end_of_stream = end_of_stream


@dataclass(slots=True, unsafe_hash=True, init=False)
class ResponseBody:
    """A piece of the response's body."""

    body: Final[bytes]
    end_of_stream: Final[bool]

    def __init__(self, body: bytes, end_of_stream: bool = False) -> None:
        self.body = body
        self.end_of_stream = end_of_stream


@value
class ResponseTrailers:
    """The response's trailers, which end it."""


Event = RequestHeaders | RequestBody | RequestTrailers | ResponseHeaders | ResponseBody | ResponseTrailers


@value
class Modes:
    """The body modes the gateway runs under; its first message says them."""

    request_body: BodyMode
    response_body: BodyMode


@dataclass(slots=True, unsafe_hash=True, init=False)
class Incoming:
    """One message of the gateway.

    `subset` is the hint of which endpoints to pick from (None: no hint), `served` the endpoint that answered in the
    end, `modes` is in the first message only. `observability`: the gateway reads no answers.
    """

    event: Final[Event]
    subset: Final[tuple[str, ...] | None]
    served: Final[str | None]
    modes: Final[Modes | None]
    observability: Final[bool]

    def __init__(
        self,
        event: Event,
        subset: tuple[str, ...] | None = None,
        served: str | None = None,
        modes: Modes | None = None,
        observability: bool = False,
    ) -> None:
        self.event = event
        self.subset = subset
        self.served = served
        self.modes = modes
        self.observability = observability


@dataclass(slots=True, unsafe_hash=True, init=False)
class HeadersReply:
    """Answer to headers. `set_headers` overwrite whatever is there; `lb_metadata` goes into `envoy.lb`.

    `revision` is told as metadata of infscale's own; "" tells nothing.
    """

    side: Final[Side]
    set_headers: Final[HeaderItems]
    remove_headers: Final[tuple[str, ...]]
    clear_route_cache: Final[bool]
    lb_metadata: Final[LbMetadata | None]
    revision: Final[str]

    def __init__(
        self,
        side: Side,
        set_headers: HeaderItems = (),
        remove_headers: tuple[str, ...] = (),
        clear_route_cache: bool = False,
        lb_metadata: LbMetadata | None = None,
        revision: str = "",
    ) -> None:
        self.side = side
        self.set_headers = set_headers
        self.remove_headers = remove_headers
        self.clear_route_cache = clear_route_cache
        self.lb_metadata = lb_metadata
        self.revision = revision


@dataclass(slots=True, unsafe_hash=True, init=False)
class BodyReply:
    """A piece of a body to pass on, in full-duplex mode: as many of them as it takes, whatever came in."""

    side: Final[Side]
    body: Final[bytes]
    end_of_stream: Final[bool]

    def __init__(self, side: Side, body: bytes, end_of_stream: bool = False) -> None:
        self.side = side
        self.body = body
        self.end_of_stream = end_of_stream


@value
class Unchanged:
    """Answer to one body message of another mode than full duplex: it passes on as it is."""

    side: Side


@value
class TrailersReply:
    """Answer to trailers, which pass on unchanged."""

    side: Side


@value
class Reported:
    """An answer at the end of a response, and numbers of it for the gateway, by namespace and name."""

    reply: "BodyReply | Unchanged | TrailersReply"
    numbers: Mapping[str, Mapping[str, float]]


@value
class ImmediateReply:
    """An answer to the client in place of the model server's; the exchange is over."""

    status: int
    headers: HeaderItems
    body: bytes
    details: str


Reply = HeadersReply | BodyReply | Unchanged | TrailersReply | Reported | ImmediateReply


@value
class Fail:
    """End the stream with a gRPC status; `status` is its name. Nothing is sent after it."""

    status: Literal["INVALID_ARGUMENT", "FAILED_PRECONDITION", "INTERNAL", "UNAVAILABLE"]
    message: str


Send = Reply | Fail
