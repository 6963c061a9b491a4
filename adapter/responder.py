"""From a typed request to the bytes of its answer, in one go: what one snapshot says is not mixed with another's."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from adapter.documents import Clock, ConstantDocument, external_list, object_list, status
from adapter.errors import ApiError
from adapter.paths import Document, DocumentRequest, ExternalRequest, ObjectRequest, ProbeRequest, Request
from adapter.provider import Provider

JSON = "application/json"
_PLAIN = "text/plain; charset=utf-8"


class PathKind(enum.Enum):
    """What a request is counted as."""

    CUSTOM = "custom"
    EXTERNAL = "external"
    DISCOVERY = "discovery"
    PROBE = "probe"
    OTHER = "other"


_KINDS: Mapping[type[Request], PathKind] = {
    ObjectRequest: PathKind.CUSTOM,
    ExternalRequest: PathKind.EXTERNAL,
    DocumentRequest: PathKind.DISCOVERY,
    ProbeRequest: PathKind.PROBE,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    code: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def kind_of(request: Request) -> PathKind:
    """What `request` is counted as."""
    return _KINDS[type(request)]


def refusal(error: ApiError, *, pretty: bool = False) -> Reply:
    """The answer that says why there is none."""
    wait = error.retry_after_seconds
    headers = {} if wait is None else {"Retry-After": str(wait)}
    if error.code == 405:
        headers = {"Allow": "GET"}
    elif error.code == 403:
        # Its message repeats a path that the client chose.
        headers = {"X-Content-Type-Options": "nosniff"}
    return Reply(error.code, status(error, pretty=pretty), headers=headers)


class Responder:
    """Answers typed requests from a provider and the constant documents."""

    def __init__(self, provider: Provider, documents: Mapping[Document, ConstantDocument]) -> None:
        self._provider = provider
        self._documents = documents

    def answer(self, request: Request, clock: Clock, if_none_match: str | None = None) -> Reply:
        """The answer at the moment of `clock`; refusals are answers too."""
        match request:
            case ProbeRequest():
                return Reply(200, b"ok", _PLAIN)
            case DocumentRequest():
                return self._document(request, if_none_match)
            case _:
                return self._metric(request, clock)

    def _document(self, request: DocumentRequest, if_none_match: str | None) -> Reply:
        document = self._documents[request.document]
        headers = {"ETag": document.etag}
        # A probe of the aggregator takes 304 for a failure, so only who names the tag gets one.
        if if_none_match is not None and document.etag in if_none_match:
            return Reply(304, b"", headers=headers)
        return Reply(200, document.pretty if request.pretty else document.body, headers=headers)

    def _metric(self, request: ObjectRequest | ExternalRequest, clock: Clock) -> Reply:
        try:
            if isinstance(request, ObjectRequest):
                body = object_list(request, self._provider.objects(request, clock.monotonic), clock)
            else:
                body = external_list(request, self._provider.external(request, clock.monotonic), clock)
        except ApiError as error:
            return refusal(error, pretty=request.pretty)
        return Reply(200, body)
