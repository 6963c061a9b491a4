"""Immediate answers to the client: an OpenAI-style JSON error, or the reference picker's words."""

import math
from collections.abc import Mapping
from typing import Final, Literal

import orjson

from picker.errors import RequestError
from picker.ext_proc.messages import ImmediateReply
from picker.request import Reason, Rejection, RejectionCode

ErrorFormat = Literal["openai", "reference"]

DROPPED_REASON_HEADER = "x-llm-d-request-dropped-reason"


_CLIENT: Final = "invalid_request_error"
# Of each code, the words of an OpenAI-style error: its type, and its code.
_OPENAI_WORDS: Final[Mapping[RejectionCode, tuple[str, str]]] = {
    "BadRequest": (_CLIENT, "bad_request"),
    "NotFound": (_CLIENT, "not_found"),
    "PreconditionFailed": (_CLIENT, "precondition_failed"),
    "RequestTimeout": (_CLIENT, "request_timeout"),
    "PayloadTooLarge": (_CLIENT, "payload_too_large"),
    "UnsupportedMediaType": (_CLIENT, "unsupported_media_type"),
    "ResourceExhausted": ("rate_limit_error", "resource_exhausted"),
    "Internal": ("server_error", "internal"),
    "ServiceUnavailable": ("server_error", "service_unavailable"),
}


def immediate_reply(rejection: Rejection, error_format: ErrorFormat) -> ImmediateReply:
    """The answer that tells a client about `rejection`."""
    details = ""
    headers: list[tuple[str, bytes]] = []
    if error_format == "openai":
        kind, code = _OPENAI_WORDS[rejection.code]
        error = {"message": rejection.message, "type": kind, "code": code, "param": None}
        body = orjson.dumps({"error": error})
        headers.append(("content-type", b"application/json"))
        details = rejection.code
        if rejection.retry_after_seconds is not None:
            headers.append(("retry-after", b"%d" % max(1, math.ceil(rejection.retry_after_seconds))))
    else:
        body = f"inference error: {rejection.code} - {rejection.message}".encode()
    if rejection.dropped_reason is not None:
        headers.append((DROPPED_REASON_HEADER, rejection.dropped_reason.encode()))
    return ImmediateReply(rejection.status, tuple(headers), body, details)


def no_parser(error_format: ErrorFormat) -> RequestError:
    """No configured parser takes the path; the reference picker calls that a bad request."""
    message = "no parser registered matching path suffix"
    if error_format == "reference":
        return RequestError(message, reason=Reason.UNKNOWN_PATH)
    return RequestError(message, "NotFound", Reason.UNKNOWN_PATH)


def of_bodyless(rejection: Rejection, error_format: ErrorFormat) -> Rejection:
    """The refusal of a request without a body: the reference picker calls the want of endpoints its own error."""
    if error_format == "reference" and rejection.code == "ServiceUnavailable":
        return Rejection("Internal", "no pods available in datastore", rejection.reason)
    return rejection
