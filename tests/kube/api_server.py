"""The API server in memory, over HTTP on loopback: for programs that are tested as processes."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import orjson
from aiohttp import web

from infscale.kube.api.errors import Forbidden, KubeError, NotFound
from tests.fakes.cluster import FakeCluster as FakeReviews
from tests.kube.fake_cluster import FakeCluster

_CODES: tuple[tuple[type[KubeError], int], ...] = ((Forbidden, 403), (NotFound, 404))


class ApiServer:
    """Lists and watches of `cluster`, and `reviews` of who may do what."""

    def __init__(self, cluster: FakeCluster, reviews: FakeReviews) -> None:
        self._cluster = cluster
        self._reviews = reviews

    async def answer(self, request: web.Request) -> web.StreamResponse:
        try:
            if request.method == "POST":
                return web.json_response(await self._reviews.create(request.path, await request.json()), status=201)
            if request.query.get("watch"):
                return await self._watch(request)
            return web.json_response(await self._cluster.get(request.path, dict(request.query)))
        except KubeError as error:
            code = next((code for kind, code in _CODES if isinstance(error, kind)), 500)
            return web.json_response({"kind": "Status", "code": code, "message": str(error)}, status=code)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for event in self._cluster.watch(request.path, dict(request.query)):
            await response.write(orjson.dumps(event) + b"\n")
        return response


@asynccontextmanager
async def serving(cluster: FakeCluster, reviews: FakeReviews) -> AsyncGenerator[str]:
    """The URL of the server, for as long as the block runs."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", ApiServer(cluster, reviews).answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
