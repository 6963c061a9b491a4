"""One GET of a metrics page with aiohttp; its exceptions end here."""

import errno
from dataclasses import dataclass

import aiohttp
from yarl import URL

from infscale.periodic import FetchError, Rejected, Unreachable

PAGE_LIMIT_BYTES = 8 * 1024 * 1024

# The caller limits the whole scrape; a second clock inside would only cost timers.
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None)
# Compressing costs the model server more CPU than the page costs the network; a compressed answer is read all the same.
_HEADERS = {"Accept": "text/plain;version=0.0.4", "Accept-Encoding": "identity"}
_CONNECT_CAUSES = {
    errno.ECONNREFUSED: "connection refused",
    errno.EHOSTUNREACH: "no route to host",
    errno.ENETUNREACH: "network unreachable",
    errno.ETIMEDOUT: "connection timed out",
}


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it arrived; `whole` says whether the transport vouches that it ended where the server meant it to."""

    body: bytes
    whole: bool


async def fetch(
    session: aiohttp.ClientSession, url: URL, limit_bytes: int = PAGE_LIMIT_BYTES, *, verify_tls: bool = True
) -> Page:
    """The page at `url`, at most `limit_bytes` long once decompressed. Redirects are not followed.

    Without `verify_tls` any certificate of an https address will do.

    Raises FetchError with the cause in plain words; Unreachable and Rejected are the kinds a caller treats apart.
    """
    try:
        async with session.get(
            url, headers=_HEADERS, allow_redirects=False, timeout=_NO_TIMEOUT, ssl=verify_tls
        ) as response:
            _check_status(response.status)
            return await _read(response, limit_bytes)
    except aiohttp.ClientConnectorDNSError as error:
        raise Unreachable("host name not found") from error
    except aiohttp.ClientSSLError as error:
        raise FetchError("TLS handshake failed") from error
    except aiohttp.ClientConnectorError as error:
        raise Unreachable(_CONNECT_CAUSES.get(error.errno or 0, "connection failed")) from error
    except aiohttp.ClientPayloadError as error:
        raise FetchError("page truncated") from error
    except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
        raise FetchError("connection closed by the server") from error
    except aiohttp.ClientError as error:
        raise FetchError("the server does not speak HTTP") from error


def _check_status(status: int) -> None:
    if 300 <= status < 400:
        raise FetchError(f"HTTP {status}, redirects are not followed")
    if 400 <= status < 500:
        raise Rejected(f"HTTP {status}")
    if status != 200:
        raise FetchError(f"HTTP {status}")


async def _read(response: aiohttp.ClientResponse, limit_bytes: int) -> Page:
    announced = response.content_length
    if announced is not None and announced > limit_bytes:
        response.close()
        raise _too_large(limit_bytes)
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limit_bytes:
            response.close()
            raise _too_large(limit_bytes)
        chunks.append(chunk)
    whole = announced is not None or "chunked" in response.headers.get("Transfer-Encoding", "").lower()
    return Page(b"".join(chunks), whole)


def _too_large(limit_bytes: int) -> FetchError:
    # Made where it is raised: a frame that holds its own error is a cycle, which keeps the page it holds beside it.
    return FetchError(f"page larger than {limit_bytes / 1048576:g} MiB")
