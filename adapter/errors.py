"""Refusals of the adapter, each of which becomes one Kubernetes `Status`.

InfscaleError
└── ApiError                  an HTTP code, a reason from the API conventions, and words for whoever reads the HPA
    ├── BadRequest            400: the request does not parse
    ├── NotFound              404: no such path, metric or object, now or later, until somebody makes one
    ├── MethodNotAllowed      405: everything here is read with GET
    ├── TooManyRequests       429: more requests at once than the adapter takes; ask again
    ├── InternalError         500: a fault of the adapter itself
    └── Unavailable           503: the name exists but its value is unknown now; metric paths only
"""

from typing import ClassVar

from infscale.errors import InfscaleError


class ApiError(InfscaleError):
    """A refusal; `str` of it is the message of the `Status`."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"
    retry_after_seconds: ClassVar[int | None] = None


class BadRequest(ApiError):
    """The request does not parse."""

    code = 400
    reason = "BadRequest"


class NotFound(ApiError):
    """The path, metric or object does not exist."""

    code = 404
    reason = "NotFound"


class MethodNotAllowed(ApiError):
    """The path exists and takes another method."""

    code = 405
    reason = "MethodNotAllowed"


class TooManyRequests(ApiError):
    """More metric requests at once than the adapter takes."""

    code = 429
    reason = "TooManyRequests"
    retry_after_seconds = 1


class InternalError(ApiError):
    """A fault of the adapter itself."""


class Unavailable(ApiError):
    """The name exists, its value is unknown now; says why and how old the last one is.

    It carries no `Retry-After`: clients of the API would wait inside the request instead of reporting the cause.
    """

    code = 503
    reason = "ServiceUnavailable"
