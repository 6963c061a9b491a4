"""A child process: one metrics page on all addresses of this machine, so that every simulated pod has a page.

`python -m bench.page_server PORT` prints a line when it listens and runs until its standard input ends. `/pages` says
how many pages it served. A POST is answered at once, as a completion.
"""

import asyncio
import re
import sys
from typing import cast

import uvloop

from bench.moving_page import MovingPage
from infscale.process.parents import die_with_parent

_END = b"\r\n\r\n"
_COMPLETION = b'{"object":"text_completion","model":"Qwen/Qwen3-32B","choices":[{"index":0,"text":"hello"}]}'
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_COMPLETION) + _COMPLETION
)
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *([0-9]+)")
_LAST_CHUNK = b"0\r\n\r\n"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %d\r\n\r\n"


class _Connection(asyncio.Protocol):
    """Answers each request of one connection; cheap enough to be beside what is measured."""

    def __init__(self, pages: MovingPage) -> None:
        self._pages = pages
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while _END in self._received and self._transport is not None:
            request, _, rest = self._received.partition(_END)
            if request.startswith(b"POST "):
                body = _body_bytes(request, rest)
                if body is None:
                    return
                self._received = rest[body:]
                self._transport.write(_ANSWER + _COMPLETION)
                continue
            self._received = rest
            if request.startswith(b"GET /pages "):
                count = b"%d" % self._pages.served
                self._transport.write(_HEAD % len(count) + count)
            else:
                page = self._pages.next(_query(request))
                self._transport.writelines((_HEAD % sum(map(len, page)), *page))


def _query(request: bytes) -> str:
    """The query of a request for a page, "" where it has none."""
    return request.partition(b"\r\n")[0].split(b" ")[1].partition(b"?")[2].decode("ascii")


def _body_bytes(request: bytes, rest: bytes) -> int | None:
    """How much of `rest` is the body of `request`; None while that is not whole."""
    length = _LENGTH.search(request)
    if length is not None:
        return int(length[1]) if len(rest) >= int(length[1]) else None
    end = rest.find(_LAST_CHUNK)
    return None if end < 0 else end + len(_LAST_CHUNK)


async def _main(port: int) -> None:
    pages, loop = MovingPage(), asyncio.get_running_loop()
    async with await loop.create_server(lambda: _Connection(pages), "0.0.0.0", port, backlog=2048):
        print("listening", flush=True)
        await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    die_with_parent()
    uvloop.run(_main(int(sys.argv[1])))
