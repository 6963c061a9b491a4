"""What every transport says to an exchange that has to end, and what it counts of those that are open."""

import logging
import traceback
from pathlib import Path
from typing import Final

from picker.errors import WireError
from picker.ext_proc.messages import Fail, Incoming, RequestBody, ResponseBody
from picker.request import Reason, Rejection
from picker.transport.budget import Ending

CRASHED: Final = Fail("INTERNAL", "the picker failed on this request; its log says where")
"""What the gateway is told of a fault of the picker's own."""

EXCHANGE_BYTES: Final = 2_048
"""What an open exchange takes beside its headers and bodies, about."""

_LOG = logging.getLogger(__name__)
_LONGEST_HEADERS_BYTES: Final = 1 << 20
_BODIES: Final = (0x22, 0x2A)
_STALLED: Final = Rejection("RequestTimeout", "the request body did not arrive in time", Reason.BODY_TIMEOUT)
_NO_ROOM: Final = Rejection(
    "ServiceUnavailable",
    "too much is on its way in request bodies; try again",
    Reason.BODY_BUDGET,
    retry_after_seconds=1.0,
)


def rejection(why: Ending) -> Rejection:
    """What the client of an exchange is told."""
    return _STALLED if why == "stalled" else _NO_ROOM


def log_crash(error: Exception) -> None:
    """Say what broke and where. The error's own text stays out: it can quote what a client sent."""
    frames = traceback.extract_tb(error.__traceback__)
    where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames[-3:]]
    _LOG.error("exchange failed", extra={"fields": {"error": type(error).__name__, "where": where}})


def check_message(message: bytes) -> None:
    """Raises `WireError` for a message that is no body and larger than any headers."""
    if len(message) > _LONGEST_HEADERS_BYTES and message[0] not in _BODIES:
        raise WireError(f"a message without a body is larger than {_LONGEST_HEADERS_BYTES} bytes")


def kept_bytes(message: Incoming, size_bytes: int) -> int:
    """How much of a message stays as long as its exchange: headers do."""
    match message.event:
        case RequestBody() | ResponseBody():
            return 0
        case _:
            return size_bytes
