"""Refusals of the adapter, each of which becomes one Kubernetes `Status`.

InfscaleError
├── TrustError                the cluster's certificate authorities cannot be read
├── CertificateRefused        a client certificate proves nothing; never leaves the adapter as it is
└── ApiError                  an HTTP code, a reason from the API conventions, and words for readers of an HPA
    ├── BadRequest            400: the request does not parse
    ├── Unauthorized          401: an identity that is claimed is not proven
    ├── Forbidden             403: the user may not do this
    ├── NotFound              404: no such path, metric or object, until one is made
    ├── MethodNotAllowed      405: everything here is read with GET
    ├── NotAcceptable         406: the client takes no form in which the answer can be written
    ├── TooManyRequests       429: more requests at once than the adapter takes; ask again
    ├── HeadTooLarge          431: a request's line and headers are larger than the adapter takes
    ├── InternalError         500: a fault of the adapter itself
    └── Unavailable           503: the name exists but its value is unknown now; metric paths only
"""

from collections.abc import Mapping
from typing import ClassVar

from infscale.errors import InfscaleError


class TrustError(InfscaleError):
    """The cluster's certificate authorities cannot be read; the message names the part and what is expected there."""


class CertificateRefused(InfscaleError):
    """A client certificate proves nothing. The message is one of few, and says nothing about the certificate."""


class ApiError(InfscaleError):
    """A refusal; `str` of it is the message of the `Status`."""

    code: ClassVar[int]
    reason: ClassVar[str]
    retry_after_seconds: ClassVar[int | None] = None

    def __init_subclass__(cls, *, code: int, reason: str) -> None:
        cls.code, cls.reason = code, reason


class BadRequest(ApiError, code=400, reason="BadRequest"):
    """The request does not parse."""


class Unauthorized(ApiError, code=401, reason="Unauthorized"):
    """An identity that is claimed is not proven. `cause` is for our log, one of few; the client is told nothing."""

    def __init__(self, cause: str) -> None:
        self.cause = cause
        super().__init__("Unauthorized")


class Forbidden(ApiError, code=403, reason="Forbidden"):
    """The user may not do this. `details` names the resource asked for, as the `Status` repeats it."""

    def __init__(self, message: str, details: Mapping[str, str]) -> None:
        self.details = details
        super().__init__(message)


class NotFound(ApiError, code=404, reason="NotFound"):
    """The path, metric or object does not exist."""


class MethodNotAllowed(ApiError, code=405, reason="MethodNotAllowed"):
    """The path exists and takes another method."""


class NotAcceptable(ApiError, code=406, reason="NotAcceptable"):
    """The client takes no form in which the answer can be written."""


class TooManyRequests(ApiError, code=429, reason="TooManyRequests"):
    """More metric requests at once than the adapter takes."""

    retry_after_seconds = 1


class HeadTooLarge(ApiError, code=431, reason="RequestHeaderFieldsTooLarge"):
    """The line and headers of a request, or a body that it should not have, are larger than the adapter takes."""

    def __init__(self) -> None:
        super().__init__("the request is larger than 1 MiB")


class InternalError(ApiError, code=500, reason="InternalError"):
    """A fault of the adapter itself."""


class Unavailable(ApiError, code=503, reason="ServiceUnavailable"):
    """The name exists, its value is unknown now; says why and how old the last one is.

    It carries no `Retry-After`: clients of the API would wait inside the request instead of reporting the cause.
    """
