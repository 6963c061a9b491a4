"""One GET of a metrics page after another, over an open connection; every failure becomes a readable cause here.

Pages are fetched hundreds of times a second, so there is no more between socket and page than an HTTP parser.
"""

import asyncio
import base64
import functools
import ssl
from dataclasses import replace
from pathlib import Path

from yarl import URL

from infscale.periodic import FetchError, Unreachable
from infscale.process.connecting import connect_problem
from infscale.scrape.answer import CLOSED, Page, Room
from infscale.scrape.page_connection import Asking, Connection, Stale
from infscale.scrape.tls_trust import PageCertificates, read_token

PAGE_LIMIT_BYTES = 8 * 1024 * 1024

# Compressing costs the model server more CPU than the page costs the network; a compressed answer is read all the same.
_REQUEST = (
    "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: infscale\r\nAccept: text/plain;version=0.0.4\r\n"
    "Accept-Encoding: identity\r\n{authorization}\r\n"
)


class PageClient:
    """Gets pages from the server of one URL, one at a time; redirects are not followed.

    Pages are at most `limit_bytes` long once decompressed. A user and a password in the URL are sent. Without
    `verify_tls` any certificate of an https address will do. `certificates` None: the system's authorities are
    believed, and none is shown. With `h2c` it speaks HTTP/2 from the start, in plain text. `room` is shared with
    others. `close` when it is no longer wanted.
    """

    def __init__(
        self,
        url: URL,
        limit_bytes: int = PAGE_LIMIT_BYTES,
        *,
        verify_tls: bool = True,
        certificates: PageCertificates | None = None,
        h2c: bool = False,
        room: Room | None = None,
    ) -> None:
        if url.host is None or url.port is None:
            raise ValueError("a page has a host and a port")
        self._address = url.host, url.port
        self._asking = Asking(url.host_port_subcomponent or "", _authorization(url), limit_bytes, room or Room())
        self._h2c = h2c
        self._own = certificates if url.scheme == "https" else None
        self._named = None if certificates is None else certificates.server_name
        self._verify_tls = verify_tls
        self._tls = system_tls(verify_tls) if url.scheme == "https" and certificates is None else None
        self._connection: Connection | None = None

    async def get(self, target: str) -> Page:
        """The page at `target`, a path with its query.

        Raises FetchError with the cause in plain words; Unreachable and Rejected are the kinds a caller treats apart.
        It may be cancelled.
        """
        if self._own is not None and self._own.token_file is not None:
            await self._authorize(self._own.token_file)
        connection = self._connection
        if connection is not None and connection.idle:
            try:
                return await connection.get(target)
            except Stale:
                pass
        self._connection = connection = await self._connected()
        try:
            return await connection.get(target)
        except Stale:
            raise FetchError(CLOSED) from None

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    async def _authorize(self, token_file: Path) -> None:
        """Send the token of today, over a connection of its own."""
        authorization = f"Bearer {await asyncio.to_thread(read_token, token_file)}"
        if authorization != self._asking.authorization:
            self.close()
            self._asking = replace(self._asking, authorization=authorization)

    def _new(self) -> Connection:
        if not self._h2c:
            return _Connection(self._asking)
        # Its library takes 5 MiB, which those without such servers need not have.
        from infscale.scrape.h2c import H2cConnection

        return H2cConnection(self._asking)

    async def _connected(self) -> Connection:
        loop = asyncio.get_running_loop()
        tls = self._tls if self._own is None else await asyncio.to_thread(own_tls, self._own, self._verify_tls)
        # Certificates name hosts without the dot that a full name may end in.
        named = None if tls is None else self._named or self._address[0].removesuffix(".")
        try:
            _, connection = await loop.create_connection(self._new, *self._address, ssl=tls, server_hostname=named)
        except ssl.SSLError as error:
            raise FetchError(connect_problem(error)) from error
        except OSError as error:
            raise Unreachable(connect_problem(error)) from error
        return connection


def _authorization(url: URL) -> str:
    """What a header says of a URL's user and password; nothing where it has none."""
    if url.user is None:
        return ""
    credentials = base64.b64encode(f"{url.user}:{url.password or ''}".encode()).decode()
    return f"Basic {credentials}"


@functools.cache  # Reading the trusted certificates takes milliseconds, and there may be a thousand servers.
def system_tls(verify: bool) -> ssl.SSLContext:
    """As `own_tls`, of the system's authorities."""
    context = ssl.create_default_context()
    if not verify:
        _believe_anybody(context)
    return context


def own_tls(certificates: PageCertificates, verify: bool) -> ssl.SSLContext:
    """What a connection to an endpoint believes and shows, of files. It blocks.

    Raises FetchError where they cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=certificates.ca if verify else None)
        if certificates.client is not None:
            context.load_cert_chain(*certificates.client)
    except OSError as error:
        # Of what is wrong with a certificate, OpenSSL says no more than where in its sources it noticed.
        problem = "they are no PEM files that belong together" if isinstance(error, ssl.SSLError) else error.strerror
        raise FetchError(f"certificates for scraping cannot be used: {problem}") from error
    if not verify:
        _believe_anybody(context)
    return context


def _believe_anybody(context: ssl.SSLContext) -> None:
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE


class _Connection(Connection):
    """One connection that speaks HTTP/1.1."""

    def _ask(self, transport: asyncio.Transport, target: str) -> None:
        asking = self._asking
        authorization = f"Authorization: {asking.authorization}\r\n" if asking.authorization else ""
        transport.write(_REQUEST.format(target=target, host=asking.host, authorization=authorization).encode())

    def data_received(self, data: bytes) -> None:
        answer, done = self._answer, self._done
        if answer is None or done is None:
            # Nothing was asked.
            self.abort()
            return
        answer.feed(data)
        if answer.error is not None or answer.ended:
            self._settle(answer, done)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        answer, done = self._answer, self._done
        if answer is None:
            return
        answer.end(cleanly=exc is None)
        if done is None or done.done():
            return
        if answer.received:
            self._settle(answer, done)
        else:
            done.set_exception(Stale())
