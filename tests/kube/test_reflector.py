"""Lists in pages: bounded however large objects are, right however often they expire, and no object spoils another."""

import asyncio
import json
import logging
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from infscale.backoff import Backoff
from infscale.endpoint import ObjectKey
from infscale.kube.api.errors import Gone, TooLarge, Unreachable
from infscale.kube.api.resources import PODS
from infscale.kube.reflector import Reflector
from infscale.kube.tables import Table, read_pod_again
from infscale.kube.watched_objects import PodRecord
from infscale.kube.watching import ReflectorSettings
from tests.fakes.kept_memory import without_collections
from tests.kube import cluster_objects as made

SETTINGS = ReflectorSettings(page_size=8, backoff=Backoff(base_seconds=0.001, cap_seconds=0.002))


class Paged:
    """A server whose answers hold `most` objects at most; `expires` is how many times a second page is gone."""

    def __init__(self, names: list[str], most: int = 1000, expires: int = 0) -> None:
        self.items: dict[str, Any] = {name: made.pod(name) for name in names}
        self.most = most
        self.expires = expires
        self.asked: list[Mapping[str, str]] = []
        self.events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.seen_when_asked: list[int] = []
        self.records: dict[ObjectKey, PodRecord] = {}

    async def get(self, path: str, params: Mapping[str, str] = {}) -> dict[str, Any]:
        del path
        self.asked.append(params)
        self.seen_when_asked.append(len(self.records))
        start, size = int(params.get("continue", "0")), int(params["limit"])
        items = list(self.items.values())[start : start + size]
        if start and self.expires:
            self.expires -= 1
            raise Gone("too old resource version")
        if len(items) > self.most:
            raise TooLarge("too large")
        more = {"continue": str(start + size)} if start + size < len(self.items) else {}
        return {"metadata": {"resourceVersion": "7", **more}, "items": items}

    async def watch(self, path: str, params: Mapping[str, str]) -> AsyncGenerator[dict[str, Any], None]:
        del path
        yield {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": params["resourceVersion"]}}}
        while (event := await self.events.get()) is not None:
            yield event

    @asynccontextmanager
    async def followed(self) -> AsyncGenerator[Reflector]:
        loop = asyncio.get_running_loop()
        table = Table(self.records, read_pod_again, lambda: None)
        reflector = Reflector(self, PODS, table, loop.time, random.Random(1), SETTINGS)
        running = loop.create_task(reflector.run())
        try:
            async with asyncio.timeout(5):
                await reflector.synced.wait()
            yield reflector
        finally:
            running.cancel()
            await asyncio.wait([running])

    @property
    def held(self) -> set[str]:
        return {key.name for key in self.records}


async def until(holds: Any) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.001)


NAMES = [f"p{each:02}" for each in range(30)]


async def test_each_page_is_taken_in_before_the_next_is_asked_for() -> None:
    server = Paged(NAMES)
    async with server.followed():
        assert server.held == set(NAMES)
    assert server.seen_when_asked == [0, 8, 16, 24]


async def test_a_page_that_is_too_large_is_asked_for_in_smaller_ones_from_where_it_began() -> None:
    server = Paged(NAMES, most=3)
    async with server.followed():
        assert server.held == set(NAMES)
    assert [int(each["limit"]) for each in server.asked[:2]] == [8, 2]
    assert [each.get("continue", "0") for each in server.asked[1:4]] == ["0", "2", "4"]


async def test_one_object_that_is_too_large_is_said_and_the_list_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    server = Paged(NAMES[:3], most=0)

    async def follow() -> None:
        async with server.followed():
            pass

    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(follow())
        # A list is asked for in ever smaller pages, down to one object.
        await until(lambda: [each["limit"] for each in server.asked].count("1") >= 2)
        following.cancel()
    assert server.held == set()
    assert "pods cannot be followed, the last state stays: too large" in caplog.text


async def test_pages_that_expire_begin_anew_and_larger() -> None:
    server = Paged(NAMES, expires=2)
    async with server.followed():
        assert server.held == set(NAMES)
    assert [int(each["limit"]) for each in server.asked if "continue" not in each] == [8, 16, 32]


async def test_what_was_deleted_meanwhile_leaves_with_the_next_list_and_not_before() -> None:
    server = Paged(NAMES)
    async with server.followed() as reflector:
        for name in NAMES[::2]:
            del server.items[name]
        server.items["new"] = made.pod("new")
        server.expires = 1
        await server.events.put({"type": "ERROR", "object": {"code": 410, "message": "too old"}})
        await until(lambda: server.held == {*NAMES[1::2], "new"})
        await until(lambda: reflector.problem is None)
        await server.events.put({"type": "DELETED", "object": made.pod("new", resourceVersion="9")})
        await until(lambda: server.held == set(NAMES[1::2]))


STRANGE: list[Any] = [
    {},
    [],
    None,
    {"metadata": None},
    {"metadata": {"name": "strange", "namespace": "chat"}, "spec": {"containers": [{}]}},
    {"metadata": {"name": "strange", "namespace": "chat"}, "spec": 5},
    {"metadata": {"name": "strange", "namespace": "chat"}, "status": {"podIPs": {"a": 1}}},
]


@pytest.mark.parametrize("strange", STRANGE, ids=range(len(STRANGE)))
async def test_an_object_that_cannot_be_read_is_passed_over_alone(
    strange: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """In a list and in a watch; it is said once, however many there are."""
    server = Paged(["a", "z"])
    server.items = {"a": made.pod("a"), "1": strange, "2": strange, "z": made.pod("z")}
    with caplog.at_level(logging.ERROR):
        async with server.followed() as reflector:
            assert server.held == {"a", "z"}
            if isinstance(strange, dict) and strange.get("metadata"):
                strange["metadata"]["resourceVersion"] = "8"
                await server.events.put({"type": "MODIFIED", "object": strange})
            await server.events.put({"type": "ADDED", "object": made.pod("next", resourceVersion="9")})
            await until(lambda: "next" in server.held)
            assert reflector.strange >= 2
    assert caplog.text.count("is passed over") == 1


@hypothesis_settings(max_examples=30, deadline=None)
@given(st.sets(st.text("abc", min_size=1, max_size=3)), st.integers(1, 9), st.integers(0, 4))
async def test_whatever_the_sizes_everything_is_held_in_the_end(names: set[str], most: int, expires: int) -> None:
    server = Paged(sorted(names), most, expires)
    async with server.followed():
        assert server.held == names


class Broken(Paged):
    """A server whose answers are large, and no JSON."""

    async def get(self, path: str, params: Mapping[str, str] = {}) -> dict[str, Any]:
        del path, params
        page = "x" * 8_000_000
        try:
            return dict(json.loads(page))
        except ValueError as error:
            raise Unreachable("no JSON") from error


async def test_a_problem_is_kept_without_what_was_read() -> None:
    """It stays for as long as the server does not answer, once for each resource type."""
    loop = asyncio.get_running_loop()
    broken = Broken([])
    table = Table(broken.records, read_pod_again, lambda: None)
    reflector = Reflector(broken, PODS, table, loop.time, random.Random(1), SETTINGS)
    with without_collections() as kept_bytes:
        running = loop.create_task(reflector.run())
        await until(lambda: reflector.problem is not None)
        running.cancel()
        await asyncio.wait([running])
        assert str(reflector.problem) == "no JSON"
        assert kept_bytes() < 1_000_000
