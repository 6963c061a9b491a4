"""A child process: light model servers on many ports, which answer at once and serve one metrics page.

`python -m bench.backends COUNT [whole]` prints its ports as JSON and runs until its standard input ends. Asked for
`name[]` they answer as vLLM does, or with `whole` pages all the same.
"""

import asyncio
import sys

import orjson
import uvloop
from aiohttp import web

from bench.moving_page import MovingPage
from infscale.process.parents import die_with_parent

_ANSWER = b'{"object":"text_completion","model":"Qwen/Qwen3-32B","choices":[{"index":0,"text":"hello"}]}'
_EVENT = (
    b'data: {"id":"cmpl-1","object":"text_completion","created":1764000000,"model":"Qwen/Qwen3-32B","choices":'
    b'[{"index":0,"text":" hello","logprobs":null,"finish_reason":null}],"usage":null}\n\n'
)
EVENTS = 64
"""Events of a streamed answer before the one that ends it."""
_EVENT_SECONDS = 0.004


class _Server:
    """Answers for every port."""

    def __init__(self, whole: bool) -> None:
        self._page = MovingPage(whole)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/metrics":
            return web.Response(
                body=b"".join(self._page.next(request.rel_url.raw_query_string)), content_type="text/plain"
            )
        body = await request.read()
        if b'"stream":true' in body:
            return await _stream(request)
        return web.Response(body=_ANSWER, content_type="application/json")


async def _stream(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for _ in range(EVENTS):
        await response.write(_EVENT)
        # Apart in time, so that each is a chunk of its own for each hop on its way.
        await asyncio.sleep(_EVENT_SECONDS)
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


async def _main(count: int, whole: bool) -> None:
    runner = web.ServerRunner(web.Server(_Server(whole).handle, access_log=None))
    await runner.setup()
    for _ in range(count):
        await web.TCPSite(runner, "127.0.0.1", 0).start()
    ports = [int(address[1]) for address in runner.addresses]
    sys.stdout.buffer.write(orjson.dumps(ports) + b"\n")
    sys.stdout.buffer.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    die_with_parent()
    uvloop.run(_main(int(sys.argv[1]), "whole" in sys.argv[2:]))
