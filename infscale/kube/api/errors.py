"""What the API server says no with.

KubeError           a request to the API server failed; its text is the server's message, or the cause in plain words
├── NotFound        there is no such object, or no such resource (404)
├── Forbidden       this identity may not do that, or the server does not know it (401, 403)
├── Conflict        the object exists already, or was changed in the meantime (409)
├── Gone            the version or page asked for is no longer kept: list again (410)
├── TooLarge        the answer is larger than is read: ask for less at once
├── Rejected        the request is wrong in another way (other 4xx): sent again it fails again
└── Unreachable     no server answered, or not now (network, TLS, time limits, 429, 5xx): trying again may help
"""

from collections.abc import Mapping
from typing import cast

from infscale.errors import InfscaleError


class KubeError(InfscaleError):
    """A request to the API server failed."""


class NotFound(KubeError):
    """There is no such object, or the server knows no such resource (404)."""


class Forbidden(KubeError):
    """This identity may not do that, or its credentials are not accepted (401, 403)."""


class Conflict(KubeError):
    """The object exists already, or was changed since it was read (409)."""


class Gone(KubeError):
    """The resource version or page asked for is no longer kept (410): list again."""


class TooLarge(KubeError):
    """The answer is larger than is read: ask for less at once."""


class Rejected(KubeError):
    """The request is wrong (other 4xx): sent again, it fails again."""


class Unreachable(KubeError):
    """No server answered, or not now. `retry_after_seconds` is the pause the server asks for, None: not said."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


_BY_CODE: Mapping[int, type[KubeError]] = {401: Forbidden, 403: Forbidden, 404: NotFound, 409: Conflict, 410: Gone}
_MAX_MESSAGE = 500


def error_of(code: int, message: str, retry_after_seconds: float | None = None) -> KubeError:
    """The error that an answer with HTTP status `code` is. `message` is the server's, "" where it gave none."""
    text = message[:_MAX_MESSAGE] or f"the API server answered HTTP {code}"
    if code in _BY_CODE:
        return _BY_CODE[code](text)
    if code == 429 or not 400 <= code < 500:
        return Unreachable(text, retry_after_seconds)
    return Rejected(text)


def error_of_status(status: Mapping[str, object], code: int, retry_after_seconds: float | None = None) -> KubeError:
    """The error that a ``Status`` object is; `code` and `retry_after_seconds` are what HTTP said beside it."""
    details = status.get("details")
    if retry_after_seconds is None and isinstance(details, Mapping):
        seconds: object = cast("Mapping[str, object]", details).get("retryAfterSeconds")
        # The server leaves a pause of 0 out, so what is there is meant.
        retry_after_seconds = float(seconds) if isinstance(seconds, int) and seconds > 0 else None
    message, own_code = status.get("message"), status.get("code")
    return error_of(
        own_code if isinstance(own_code, int) and own_code >= 400 else code,
        message if isinstance(message, str) else "",
        retry_after_seconds,
    )
