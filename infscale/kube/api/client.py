"""The API server over HTTP: objects as JSON, watches as streams of events.

The exceptions of aiohttp and orjson end here; no body and no header is ever logged.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, cast

import aiohttp
import orjson
from yarl import URL

from infscale.framing.line_buffer import LineBuffer
from infscale.kube.api.errors import KubeError, TooLarge, Unreachable, error_of_status
from infscale.kube.api.verbs import JsonObject, PatchKind
from infscale.process.connecting import NO_HANDSHAKE, NOT_FOUND, connect_problem

FIELD_MANAGER = "infscale"
"""The owner of the applied fields, as the server keeps it."""

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Of one answer that is no watch; a page of 500 ordinary pods takes half of it."""

_UNAUTHORIZED = 401
_GAP_MARGIN_SECONDS = 15.0
# The API server ends watches that set no time after between half an hour and a whole one.
_LONGEST_WATCH_SECONDS = 3600.0
_NO_PARAMS: Mapping[str, str] = MappingProxyType({})
# Compressing costs the API server more CPU than the page costs the network.
_HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "infscale"}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What requests are sent with.

    `authorization` is the value of that header, and never shown. `tls` is None where the server is spoken to in the
    clear. `server_name` is the name its certificate must have where that is not the host's. `proxy` is the URL of an
    HTTP proxy, and may hold a password.
    """

    authorization: str | None = None
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    proxy: str | None = None

    def __repr__(self) -> str:
        return "Credentials(…)"


class CredentialSource(Protocol):
    """Has the credentials of the moment."""

    async def credentials(self, refused: Credentials | None = None) -> Credentials:
        """What to send now. `refused` is what the server did not accept: it is renewed where it is still in use.

        Raises `KubeError` where there are none now.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Request:
    """One request; a body is sent as `content_type`."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    body: JsonObject | None = None
    content_type: str = "application/json"


class KubeClient:
    """Talks to one API server. Every method raises `KubeError`; none tries again by itself.

    Paths are whole (``/api/v1/pods``). `request_seconds` limits each request, of a watch the time until it is taken;
    `max_answer_bytes` each answer, and each event of a watch.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        server: URL,
        source: CredentialSource,
        request_seconds: float = 10.0,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._session = session
        self._prefix = str(server).rstrip("/")
        self._place = f"the API server at {server.host}:{server.port}"
        self._source = source
        self._request_seconds = request_seconds
        self._max_answer_bytes = max_answer_bytes

    async def get(self, path: str, params: Mapping[str, str] = _NO_PARAMS) -> JsonObject:
        """The object, list or document at `path`."""
        return await self._ask(_Request("GET", path, params))

    async def create(self, path: str, body: JsonObject) -> JsonObject:
        """Create `body` in the collection at `path` and return it as the server made it."""
        return await self._ask(_Request("POST", path, body=body))

    async def update(self, path: str, body: JsonObject) -> JsonObject:
        """Replace the object at `path`; `Conflict` where it has another `resourceVersion` by now."""
        return await self._ask(_Request("PUT", path, body=body))

    async def patch(
        self, path: str, body: JsonObject, *, kind: PatchKind = PatchKind.MERGE, params: Mapping[str, str] = _NO_PARAMS
    ) -> JsonObject:
        """Change the object at `path`; what is applied belongs to `FIELD_MANAGER` unless `params` say otherwise."""
        if kind is PatchKind.APPLY:
            params = {"fieldManager": FIELD_MANAGER, **params}
        return await self._ask(_Request("PATCH", path, params, body, kind.value))

    def within(self, request_seconds: float, max_answer_bytes: int) -> "KubeClient":
        """A client of the same server and identity with other limits."""
        server = URL(self._prefix)
        return KubeClient(self._session, server, self._source, request_seconds, max_answer_bytes)

    async def delete(self, path: str) -> None:
        """Delete the object at `path`."""
        await self._ask(_Request("DELETE", path))

    async def watch(self, path: str, params: Mapping[str, str]) -> AsyncGenerator[JsonObject, None]:
        """Watch events (``{"type", "object"}``) until the server ends the watch.

        The first is a bookmark of the client's own, at the `resourceVersion` asked for: the server took the watch.
        `params` are those of a watch; `timeoutSeconds` also limits the time without any event.
        """
        request = _Request("GET", path, {**params, "watch": "true"})
        gap = float(params.get("timeoutSeconds") or _LONGEST_WATCH_SECONDS) + _GAP_MARGIN_SECONDS
        with self._translated(gap):
            async with await self._opened(request, gap) as response:
                metadata = {"resourceVersion": params.get("resourceVersion", "")}
                yield {"type": "BOOKMARK", "object": {"metadata": metadata}}
                lines = LineBuffer(self._max_answer_bytes)
                async for piece in response.content.iter_any():
                    for line in lines.feed(piece):
                        # A part of a line that is too long is no JSON either.
                        yield _object(line)

    async def _ask(self, request: _Request) -> JsonObject:
        with self._translated(self._request_seconds):
            async with asyncio.timeout(self._request_seconds), await self._accepted(request, None) as response:
                return _object(await self._body(response))

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """The body of an answer. Raises `TooLarge`, and reads no further."""
        pieces: list[bytes] = []
        left = self._max_answer_bytes
        async for piece in response.content.iter_any():
            left -= len(piece)
            if left < 0:
                response.close()
                raise TooLarge(f"the answer of {self._place} is larger than {self._max_answer_bytes} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    async def _opened(self, request: _Request, gap_seconds: float) -> aiohttp.ClientResponse:
        """The answer to `request`, its body still to come."""
        with self._translated(self._request_seconds):
            async with asyncio.timeout(self._request_seconds):
                return await self._accepted(request, gap_seconds)

    async def _accepted(self, request: _Request, gap_seconds: float | None) -> aiohttp.ClientResponse:
        """An answer that is none of an error; credentials that are refused are renewed once."""
        credentials = await self._source.credentials()
        response = await self._send(request, credentials, gap_seconds)
        if response.status == _UNAUTHORIZED:
            renewed = await self._source.credentials(refused=credentials)
            if renewed is not credentials:
                response.close()
                response = await self._send(request, renewed, gap_seconds)
        if 200 <= response.status < 300:
            return response
        async with response:
            raise _refusal(response.status, response.headers.get("Retry-After"), await self._body(response))

    async def _send(
        self, request: _Request, credentials: Credentials, gap_seconds: float | None
    ) -> aiohttp.ClientResponse:
        headers = dict(_HEADERS)
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        if credentials.authorization is not None:
            headers["Authorization"] = credentials.authorization
        return await self._session.request(
            request.method,
            URL(self._prefix + request.path, encoded=True).with_query(request.params),
            data=None if request.body is None else orjson.dumps(request.body),
            headers=headers,
            allow_redirects=False,
            ssl=credentials.tls or True,
            server_hostname=credentials.server_name,
            proxy=credentials.proxy,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None, sock_read=gap_seconds),
        )

    @contextmanager
    def _translated(self, limit_seconds: float) -> Generator[None]:
        """Put what goes wrong on the way into our words."""
        try:
            yield
        except KubeError:
            raise
        except TimeoutError as error:
            raise Unreachable(f"{self._place}: no answer within {limit_seconds:g} s") from error
        except (aiohttp.ClientError, ValueError) as error:
            raise Unreachable(f"{self._place}: {_cause(error)}") from error


def _cause(error: aiohttp.ClientError | ValueError) -> str:
    """What went wrong, in words that repeat nothing that was sent."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return NOT_FOUND
        case aiohttp.ClientConnectorCertificateError():
            certificate = error.certificate_error
            reason = certificate.verify_message if isinstance(certificate, ssl.SSLCertVerificationError) else ""
            return f"its certificate is not trusted ({reason or 'verification failed'})"
        case aiohttp.ClientSSLError():
            return NO_HANDSHAKE
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return "the proxy does not let us through"
        case aiohttp.ClientConnectorError():
            return connect_problem(error.os_error)
        case aiohttp.ClientPayloadError():
            return "the answer was cut off"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return "connection closed by the server"
        case aiohttp.ClientError():
            return "the server does not speak HTTP"
        case _:
            return "the answer is no JSON object; is this an API server?"


def _object(body: bytes) -> JsonObject:
    """The JSON object `body`. Raises `ValueError`."""
    value = orjson.loads(body)
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return cast("JsonObject", value)


def _refusal(code: int, retry_after: str | None, body: bytes) -> KubeError:
    try:
        status = _object(body)
    except ValueError:
        # Not the API server's own words: a proxy's page tells people nothing that the code does not.
        status = {}
    # HTTP allows a date, too; the API server and its neighbours send seconds.
    seconds = float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
    return error_of_status(status, code, seconds)
