"""From a typed request to the bytes of its answer, in one go: what one snapshot says is not mixed with another's."""

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from adapter.answering.forwarding import Forwarder
from adapter.answering.metric_lists import external_list, object_list, status
from adapter.answering.provider import Provider
from adapter.api.documents import AGGREGATED, Clock, ConstantDocument, Constants
from adapter.api.forms import Form, rewritten
from adapter.api.negotiation import Accepted, Preferences, accepted, negotiated
from adapter.api.paths import (
    Document,
    DocumentRequest,
    ExternalRequest,
    ObjectRequest,
    ProbeRequest,
    Request,
    TelemetryRequest,
)
from adapter.errors import ApiError

_PLAIN = "text/plain; charset=utf-8"
_NO_SNIFFING = {"X-Content-Type-Options": "nosniff"}
_FOR_EVER = "private, immutable, max-age=31536000"


class PathKind(enum.Enum):
    """What a request is counted as."""

    CUSTOM = "custom"
    EXTERNAL = "external"
    DISCOVERY = "discovery"
    PROBE = "probe"
    TELEMETRY = "telemetry"
    OTHER = "other"


KINDS: Mapping[type[Request], PathKind] = {
    ObjectRequest: PathKind.CUSTOM,
    ExternalRequest: PathKind.EXTERNAL,
    DocumentRequest: PathKind.DISCOVERY,
    ProbeRequest: PathKind.PROBE,
    TelemetryRequest: PathKind.TELEMETRY,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer."""

    code: int
    body: bytes
    content_type: str = Form.JSON.value
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def refusal(error: ApiError, how: Accepted | None = None, *, pretty: bool = False) -> Reply:
    """The answer that says why there is none."""
    how = how or Accepted()
    wait = error.retry_after_seconds
    headers = {} if wait is None else {"Retry-After": str(wait)}
    if error.code == 405:
        headers = {"Allow": "GET"}
    elif error.code == 403:
        # Its message repeats a path that the client chose.
        headers = _NO_SNIFFING
    return Reply(error.code, _written(status(error), how, pretty), how.form.value, headers)


def _written(body: bytes, how: Accepted, pretty: bool) -> bytes:
    return rewritten(body, how.form, pretty=pretty or how.pretty)


class Responder:
    """Answers typed requests from a provider and the documents; `forwarder` has what the provider does not know.

    `own` are the names of the provider's metrics. It knows some by other names, too: where the other adapter has a
    metric of such a name, that is meant.
    """

    def __init__(
        self,
        provider: Provider,
        documents: Constants,
        forwarder: Forwarder | None = None,
        own: Collection[str] = (),
    ) -> None:
        self._provider = provider
        self._forwarder = forwarder
        self._own = frozenset(own)
        self.documents = documents
        """What is answered on paths that are no metrics; replaced where another adapter's metrics change."""

    def answer(self, request: Request, clock: Clock, wanted: Preferences | None = None) -> Reply:
        """The answer at the moment of `clock`, as the client takes it; refusals are answers too.

        The process' own metrics are not among what it knows: a `TelemetryRequest` is a TypeError.
        """
        wanted = wanted or Preferences()
        match request:
            case ProbeRequest():
                return Reply(200, b"ok", _PLAIN, _NO_SNIFFING)
            case TelemetryRequest():
                raise TypeError("the process' own metrics are no answer from a provider")
            case DocumentRequest():
                return self._document(request, wanted)
            case _:
                return self._metric(request, clock, wanted)

    def is_of_others(self, request: ObjectRequest) -> bool:
        """Whether another adapter has a metric of that name, and infscale at most one that is called so by others."""
        return self._forwarder is not None and request.metric not in self._own and self._forwarder.knows(request.metric)

    async def elsewhere(self, request: ObjectRequest, wanted: Preferences) -> Reply | None:
        """The answer of another adapter to what is not known here; None where it does not know it either."""
        found = None if self._forwarder is None else await self._forwarder.answer(request)
        if found is None:
            return None
        how = negotiated(wanted.accept)
        return Reply(200, _written(found, how, request.pretty), how.form.value)

    def _document(self, request: DocumentRequest, wanted: Preferences) -> Reply:
        try:
            document, how = self._chosen(request.document, wanted.accept)
        except ApiError as error:
            return refusal(error, pretty=request.pretty)
        written = document.written(how, pretty=request.pretty)
        headers = {"ETag": written.etag, "Vary": "Accept"}
        if request.content_hash == document.content_hash:
            headers["Cache-Control"] = _FOR_EVER
        # A probe of the aggregator takes 304 for a failure, so only a request with the tag gets one.
        if wanted.has(written.etag):
            return Reply(304, b"", written.content_type, headers)
        return Reply(200, written.body, written.content_type, headers)

    def _chosen(self, document: Document, accept: str | None) -> tuple[ConstantDocument, Accepted]:
        """The document that the path is asked for: a conversion comes first, wherever in the header it stands."""
        if document is Document.GROUPS:
            how = accepted(accept, AGGREGATED)
            if how is not None and how.conversion is not None:
                return self.documents.aggregated[how.conversion], how
        return self.documents[document], negotiated(accept)

    def _metric(self, request: ObjectRequest | ExternalRequest, clock: Clock, wanted: Preferences) -> Reply:
        how: Accepted | None = None
        try:
            how = negotiated(wanted.accept)
            if isinstance(request, ObjectRequest):
                body = object_list(request, self._provider.objects(request, clock.monotonic), clock)
            else:
                body = external_list(request, self._provider.external(request, clock.monotonic), clock)
        except ApiError as error:
            return refusal(error, how, pretty=request.pretty)
        return Reply(200, _written(body, how, request.pretty), how.form.value)
