"""Errors of the picker.

InfscaleError
└── PickerError
    ├── WireError       the gateway sent bytes that are no ext_proc message; the stream ends
    └── RequestError    the client's request cannot be scheduled; carries the answer it gets
"""

from infscale.errors import InfscaleError
from picker.request import Reason, Rejection, RejectionCode


class PickerError(InfscaleError):
    """Base of the errors the picker raises on purpose."""


class WireError(PickerError):
    """Bytes from the gateway are not a message of the ext_proc protocol."""


class RequestError(PickerError):
    """A client's request is unusable; `rejection` says so in words meant for the client."""

    def __init__(
        self, message: str, code: RejectionCode = "BadRequest", reason: Reason = Reason.INVALID_REQUEST
    ) -> None:
        self.rejection = Rejection(code, message, reason)
        super().__init__(message)


def invalid_json(problem: str) -> RequestError:
    """The error of a body that cannot be read as JSON."""
    return RequestError(f"error unmarshaling request bodyMap: {problem}", reason=Reason.INVALID_JSON)
