"""Asks a running process for its documents, with a time limit and a limit of size."""

import asyncio
import os
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import aiohttp
import orjson

from infscale.errors import InfscaleError
from infscale.viewing.seen_documents import Documents

MAX_BYTES: Final = 32 * 1024**2
"""Of one document: that of 20,000 endpoints."""
_TEXT_BYTES: Final = 200


class NoAnswer(InfscaleError):
    """A process did not answer with a document; the message says what it did."""


class Refused(InfscaleError):
    """A process will not do what it was told; the message says why."""


class ServeClient(AbstractAsyncContextManager["ServeClient"]):
    """Asks the telemetry address `url` (``http://127.0.0.1:9090``), each document within `timeout` seconds."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def documents(self, *, picks: bool, pick: str = "") -> Documents:
        """The documents as they are now. Raises `NoAnswer`.

        The decisions are there only with `picks`, and the explanation of the one whose id is `pick`, if it is given.
        """
        explanation = f"picks/{quote(pick, safe='')}" if pick else ""
        asked = ["snapshot", "autoscalers", "triggers", "rollouts", *(["picks"] if picks else [])]
        asked += [explanation] if pick else []
        found = dict(zip(asked, await asyncio.gather(*map(self.document, asked)), strict=True))
        if found["snapshot"] is None:
            raise NoAnswer("there is no /debug/snapshot: infscale has it where telemetry listens on loopback")
        return Documents(
            found["snapshot"],
            found.get("picks"),
            found["autoscalers"],
            found["triggers"],
            picks_asked=picks,
            explanation=found.get(explanation),
            rollouts=found["rollouts"],
        )

    async def document(self, path: str) -> object | None:
        """The document under `/debug/` at `path`, None where there is none. Raises `NoAnswer`."""
        body = await self._body(path, MAX_BYTES)
        if body is None:
            return None
        try:
            document: object = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise NoAnswer("it is no document of infscale") from error
        return document

    async def lines(self, path: str, most_bytes: int) -> bytes:
        """The lines under `/debug/` at `path`. Raises `NoAnswer`."""
        body = await self._body(path, most_bytes)
        if body is None:
            raise NoAnswer(f"there is no /debug/{path}: infscale has it where telemetry listens on loopback")
        return body

    async def tell(self, path: str, command: str) -> object:
        """Tell the thing under `/debug/` at `path` to do something; its document after that.

        Raises `NoAnswer`, and `Refused` with the reason where it will not.
        """
        if self._session is None:
            raise RuntimeError("the client is not open")
        with _in_words(self._timeout.total):
            sent = self._session.post(f"{self._url}/debug/{path}", json={"command": command}, allow_redirects=False)
            async with sent as answer:
                body = await _bounded(answer, MAX_BYTES)
        said = body[:_TEXT_BYTES].decode(errors="replace").strip()
        if answer.status == 409:
            raise Refused(said)
        if answer.status in (404, 405):
            raise NoAnswer(f"there is no /debug/{path}: infscale has it where telemetry listens on loopback")
        if answer.status != 200:
            raise NoAnswer(f"status {answer.status}: {said}")
        document: object = orjson.loads(body)
        return document

    async def _body(self, path: str, most_bytes: int) -> bytes | None:
        if self._session is None:
            raise RuntimeError("the client is not open")
        with _in_words(self._timeout.total):
            async with self._session.get(f"{self._url}/debug/{path}", allow_redirects=False) as answer:
                body = await _bounded(answer, most_bytes)
                if answer.status == 404:
                    return None
                if answer.status != 200:
                    raise NoAnswer(f"status {answer.status}: {body[:_TEXT_BYTES].decode(errors='replace').strip()}")
        return body


@contextmanager
def _in_words(seconds: float | None) -> Generator[None]:
    """Have what a connection may come to be a `NoAnswer` that says it in words."""
    try:
        yield
    except TimeoutError as error:
        raise NoAnswer(f"none within {seconds:g} s") from error
    except aiohttp.ClientConnectorError as error:
        number = error.os_error.errno
        raise NoAnswer(os.strerror(number).lower() if number and number > 0 else str(error)) from error
    except aiohttp.ClientError as error:
        raise NoAnswer(str(error) or type(error).__name__) from error


@asynccontextmanager
async def asking_once(url: str, timeout: float) -> AsyncGenerator[ServeClient]:
    """A `ServeClient` for one answer: what it raises names the address, which is not in sight beside it."""
    async with ServeClient(url, timeout) as client:
        try:
            yield client
        except NoAnswer as error:
            raise NoAnswer(f"{url}: {error}") from error


async def _bounded(answer: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_any():
        size += len(part)
        if size > most_bytes:
            raise NoAnswer(f"a document is larger than {most_bytes // 1024**2} MiB")
        parts.append(part)
    return b"".join(parts)
