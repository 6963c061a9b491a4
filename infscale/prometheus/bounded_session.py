"""The session that the Prometheus client asks with: answers within bounds, credentials from files, sockets to cut.

`requests` reads whatever a server sends for as long as it sends; here an answer has a size and a time. It is used in
threads alone (`infscale.prometheus.prometheus_server`). The exceptions of requests and urllib3 end here, and no header
and no body goes into words.
"""

import base64
import http.cookiejar
import os
import socket
import time
import urllib.parse
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import requests  # noqa: TID251 # the Prometheus client is built on it; it runs in threads of its own
import urllib3
from requests.adapters import HTTPAdapter  # noqa: TID251 # as above
from requests.structures import CaseInsensitiveDict  # noqa: TID251 # as above
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from infscale.periodic import FetchError, Unreachable, Withheld
from infscale.process.connecting import NO_HANDSHAKE, NOT_FOUND, connect_problem
from infscale.prometheus.api_answer import (
    QUERY_SHAPES,
    RANGE_SHAPES,
    AnswerLimits,
    Unusable,
    check_shape,
    envelope,
    error_of_status,
)
from infscale.prometheus.server_settings import ServerSettings

_READ_BYTES: Final = 64 * 1024
_SECRET_BYTES: Final = 64 * 1024
# Longer ones do not pass every proxy as a part of the URL.
_LONGEST_URL: Final = 4_096
_ERROR_BYTES: Final = 16 * 1024
_QUERY_SHAPES: Final = {"/api/v1/query": QUERY_SHAPES, "/api/v1/query_range": RANGE_SHAPES}
"""What is answered on the paths of queries; all others answer lists of series."""

# What OpenSSL says of such files, and of a certificate with another's key.
_NO_PEM: Final = ("PEM", "NO_CERTIFICATE_OR_CRL_FOUND", "KEY_VALUES_MISMATCH")
_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "infscale"}

Clock = Callable[[], float]


class Lifeline:
    """The socket of the request under way, so that another thread can end what waits for it."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    def hold(self, connected: socket.socket | None) -> None:
        """This is the socket from now on."""
        self._socket = connected

    def cut(self) -> None:
        """End what waits for the socket, now; does not block."""
        held = self._socket
        if held is not None:
            try:
                held.shutdown(socket.SHUT_RDWR)
            except OSError:
                # It was closed in between, which is as good.
                return


class _HeldAdapter(HTTPAdapter):
    """Connections whose socket is held by a lifeline."""

    def __init__(self, lifeline: Lifeline) -> None:
        self._lifeline = lifeline
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """See `HTTPAdapter`."""
        lifeline = self._lifeline

        class Plain(HTTPConnection):
            def connect(self) -> None:
                super().connect()
                lifeline.hold(self.sock)

        class Secured(HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                # Held before its handshake, for which a server may let one wait as well.
                connected = super()._new_conn()
                lifeline.hold(connected)
                return connected

            def connect(self) -> None:
                super().connect()
                lifeline.hold(self.sock)

        class PlainPool(HTTPConnectionPool):
            ConnectionCls: Any = Plain

        class SecuredPool(HTTPSConnectionPool):
            ConnectionCls: Any = Secured

        super().init_poolmanager(*args, **kwargs)
        pools: dict[str, type[HTTPConnectionPool]] = {"http": PlainPool, "https": SecuredPool}
        self.poolmanager.pool_classes_by_scheme = pools


class _Answer(requests.Response):
    """An answer that was read within bounds and is already parsed."""

    parsed: dict[str, Any]

    def json(self, **kwargs: Any) -> Any:
        """What was parsed."""
        del kwargs
        return self.parsed


class BoundedSession(requests.Session):
    """One connection to a server, as `settings` say; every fault is a `FetchError`.

    What `send` is given has `settings.timeout_seconds` from its beginning to the end of its answer.
    """

    def __init__(self, settings: ServerSettings, lifeline: Lifeline, clock: Clock = time.monotonic) -> None:
        super().__init__()
        self._settings = settings
        self._clock = clock
        self._looks: tuple[tuple[int, int, int], ...] = ()
        # Neither proxies nor passwords (netrc) that the surroundings name: what is sent where is configured.
        self.trust_env = False
        self.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        self.headers = CaseInsensitiveDict(_HEADERS | dict(settings.headers))
        self._lifeline = lifeline
        if settings.ca is not None:
            self.verify = str(settings.ca)
        if not settings.verify_tls:
            self.verify = False
            # It is configured; it need not be said with each connection.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        if settings.certificate is not None and settings.key is not None:
            self.cert = (str(settings.certificate), str(settings.key))
        self.hold()

    def hold(self) -> None:
        """Have the server's address asked over connections that can be cut."""
        self.mount(self._settings.url, _HeldAdapter(self._lifeline))

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """The answer to `request`, parsed. Raises `FetchError`."""
        deadline = self._clock() + self._settings.timeout_seconds
        self._follow_files()
        authorization = _authorization(self._settings)
        if authorization is not None:
            request.headers["Authorization"] = authorization
        _shorten(request)
        asked = {**kwargs, "stream": True, "allow_redirects": False, "timeout": self._settings.timeout_seconds}
        with translated():
            response = super().send(request, **asked)
            try:
                return self._answer(response, request, deadline)
            finally:
                response.close()

    def _answer(self, response: requests.Response, request: requests.PreparedRequest, deadline: float) -> _Answer:
        limits = self._settings.limits
        code = response.status_code
        if 300 <= code < 400:
            raise Unusable("the server sends elsewhere (a redirect): give the address that answers")
        if code != 200:
            raise _said(code, self._body(response, deadline, AnswerLimits(_ERROR_BYTES)))
        parsed = envelope(self._body(response, deadline, limits), limits)
        check_shape(parsed, _shapes(request.url))
        answer = _Answer()
        answer.status_code, answer.parsed = code, parsed
        return answer

    def _body(self, response: requests.Response, deadline: float, limits: AnswerLimits) -> bytes:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise Unusable("the answer is compressed, which was not asked for")
        pieces: list[bytes] = []
        left = limits.max_bytes
        while True:
            if self._clock() > deadline:
                raise FetchError(f"timed out after {self._settings.timeout_seconds:g} s")
            piece = response.raw.read1(_READ_BYTES, decode_content=False)
            if not piece:
                return b"".join(pieces)
            left -= len(piece)
            if left < 0:
                raise Unusable(f"the answer is larger than max_bytes ({limits.max_bytes}): narrow the query")
            pieces.append(piece)

    def _follow_files(self) -> None:
        """Connect anew where a certificate's file has changed: each connection reads the files when it is made."""
        settings = self._settings
        files = [each for each in (settings.ca, settings.certificate, settings.key) if each is not None]
        looks = tuple([_look(each) for each in files])
        if self._looks and looks != self._looks:
            self.hold()
        self._looks = looks


def _shapes(url: str | None) -> frozenset[str]:
    path = urllib.parse.urlsplit(url or "").path
    return next((shapes for ending, shapes in _QUERY_SHAPES.items() if path.endswith(ending)), frozenset())


def _said(code: int, body: bytes) -> FetchError:
    if code in {401, 403}:
        return Withheld(f"HTTP status {code}: the server does not take our credentials")
    return error_of_status(code, body)


def _look(path: Path) -> tuple[int, int, int]:
    try:
        seen = path.stat()
    except OSError as error:
        raise FetchError(f"{path} cannot be read: {error.strerror or 'it is not there'}") from None
    return seen.st_mtime_ns, seen.st_size, seen.st_ino


def _authorization(settings: ServerSettings) -> str | None:
    if settings.token_file is not None:
        return f"Bearer {_secret(settings.token_file)}"
    if settings.basic_auth is not None:
        pair = f"{settings.basic_auth.username}:{_secret(settings.basic_auth.password_file)}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"
    return None


def _secret(path: Path) -> str:
    """What a file holds, without the white space around it; it is read each time, so that a renewed one is used."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            text = file.read(_SECRET_BYTES).decode().strip()
    except OSError as error:
        raise FetchError(f"{path} cannot be read: {error.strerror or 'it is not there'}") from None
    except UnicodeDecodeError:
        raise FetchError(f"{path} holds no text") from None
    if not text or not text.isprintable() or not text.isascii():
        raise FetchError(f"{path} holds no secret in one line")
    return text


def _shorten(request: requests.PreparedRequest) -> None:
    """Send a long query as the body of a POST."""
    parts = urllib.parse.urlsplit(request.url or "")
    if len(parts.query) > _LONGEST_URL and _shapes(request.url):
        request.method = "POST"
        request.url = parts._replace(query="").geturl()
        request.headers["Content-Type"] = "application/x-www-form-urlencoded"
        request.prepare_body(parts.query, None)


@contextmanager
def translated() -> Generator[None]:
    """Put what goes wrong on the way into our words, which repeat nothing that was sent or came."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise _tls_problem(error) from None
    except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError):
        raise FetchError("timed out") from None
    except requests.exceptions.ConnectionError as error:
        raise Unreachable(_connection_problem(error)) from None
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError):
        raise FetchError("the answer was cut off, or is no HTTP") from None
    except OSError as error:
        # What OpenSSL and reading make of files of certificates that are none.
        raise FetchError(f"a certificate's file cannot be used: {error.strerror or 'it is none'}") from None


def _tls_problem(error: Exception) -> FetchError:
    words = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return Unreachable("its certificate is not trusted (verification failed)")
    if any(part in words for part in _NO_PEM):
        return FetchError("a certificate's file is not PEM, or its key is another's")
    return Unreachable(NO_HANDSHAKE)


def _connection_problem(error: BaseException) -> str:
    """The cause at the bottom of a chain of exceptions."""
    seen: BaseException | None = error
    for _ in range(10):
        if isinstance(seen, OSError) and seen.errno is not None and not isinstance(seen, requests.RequestException):
            return connect_problem(seen)
        if isinstance(seen, urllib3.exceptions.NameResolutionError):
            return NOT_FOUND
        inner = getattr(seen, "reason", None) or (seen.args[0] if seen is not None and seen.args else None)
        if not isinstance(inner, BaseException):
            inner = None if seen is None else seen.__cause__ or seen.__context__
        seen = inner
    return "connection closed by the server"
