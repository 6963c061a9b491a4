"""Errors of the picker.

InfscaleError
└── PickerError
    ├── WireError       the gateway sent bytes that are no ext_proc message; the stream ends
    └── RequestError    the client's request cannot be scheduled; carries the answer it gets
"""

from infscale.errors import InfscaleError
from picker.request import Rejection, RejectionCode


class PickerError(InfscaleError):
    """Base of the errors the picker raises on purpose."""


class WireError(PickerError):
    """Bytes from the gateway are not a message of the ext_proc protocol."""


class RequestError(PickerError):
    """A client's request is unusable; `rejection` says so in words meant for the client."""

    def __init__(self, message: str, code: RejectionCode = "BadRequest", status: int = 400) -> None:
        self.rejection = Rejection(status=status, code=code, message=message)
        super().__init__(message)
