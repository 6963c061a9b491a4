"""A keep-alive HTTPS client that costs next to nothing, so that what is measured is the server."""

import contextlib
import re
import socket
import ssl
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)\r\n")
_BUFFER_BYTES = 1 << 20
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The status code of an answer and the size of its body."""

    code: int
    body: bytes


class TlsClient:
    """One connection with a client certificate; blocks, so it belongs in a thread."""

    def __init__(self, connection: ssl.SSLSocket, headers: Sequence[tuple[str, str]]) -> None:
        self._connection = connection
        self._headers = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))

    def get(self, path: str, accept: str = "application/json") -> Answer:
        """The answer to one request, read to its end."""
        request = f"GET {path} HTTP/1.1\r\nHost: adapter\r\nAccept: {accept}\r\n{self._headers}\r\n"
        self._connection.sendall(request.encode())
        filled, end = 0, -1
        while end < 0:
            filled += self._received(filled)
            end = bytes(self._buffer[:filled]).find(b"\r\n\r\n")
        head = bytes(self._buffer[: end + 2])
        found = _LENGTH.search(head)
        if found is None:
            raise ConnectionError("the adapter's answer has no length")
        whole = end + 4 + int(found[1])
        while filled < whole:
            filled += self._received(filled)
        return Answer(int(head[9:12]), bytes(self._buffer[end + 4 : whole]))

    def _received(self, at: int) -> int:
        count = self._connection.recv_into(self._buffer[at:])
        if not count:
            raise ConnectionError("the adapter closed the connection")
        return count


@contextlib.contextmanager
def tls_client(url: str, certificate: Path, key: Path, headers: Sequence[tuple[str, str]] = ()) -> Generator[TlsClient]:
    """A connection to `url` with these headers on every request; the server's certificate is not looked at."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(certificate, key)
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port), _TIMEOUT_SECONDS) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(plain) as connection:
            yield TlsClient(connection, headers)
