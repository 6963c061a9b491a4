"""The ext_proc protocol as data: states of the two directions, and which event is legal in which."""

import enum

from picker.ext_proc.messages import (
    BodyMode,
    Event,
    Fail,
    Incoming,
    RequestBody,
    RequestHeaders,
    RequestTrailers,
    ResponseBody,
    ResponseHeaders,
    ResponseTrailers,
)


class RequestState(enum.Enum):
    """Where the request is."""

    START = "start"
    BUFFERING = "buffering"
    READING = "reading"
    HELD = "held"
    FORWARDING = "forwarding"
    SENT = "sent"
    ABANDONED = "abandoned"


class ResponseState(enum.Enum):
    """Where the response is."""

    WAITING = "waiting"
    STREAMING = "streaming"
    ENDED = "ended"


def legal(event: Event, request: RequestState, response: ResponseState) -> bool:
    """Whether `event` may come now. Ends repeat: some gateways send a second end of stream, which changes nothing."""
    match event:
        case RequestHeaders():
            return request is RequestState.START
        case RequestBody() | RequestTrailers():
            return request is not RequestState.START
        case ResponseHeaders():
            return response is ResponseState.WAITING
        case ResponseBody() | ResponseTrailers():
            return response is not ResponseState.WAITING


def refusal(first: Incoming) -> Fail | None:
    """Why a stream that begins with `first` cannot be served; None: it can."""
    if first.observability:
        return Fail("FAILED_PRECONDITION", "observability_mode is on: the picker's answers would be ignored")
    if first.modes is None:
        return None
    if first.modes.request_body not in (BodyMode.FULL_DUPLEX_STREAMED, BodyMode.NONE):
        mode = first.modes.request_body.name
        return Fail("FAILED_PRECONDITION", f"request_body_mode is {mode}; set it to FULL_DUPLEX_STREAMED")
    if first.modes.response_body is BodyMode.GRPC:
        return Fail("FAILED_PRECONDITION", "response_body_mode is GRPC; set it to NONE or FULL_DUPLEX_STREAMED")
    return None
