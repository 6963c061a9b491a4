"""Documents are made in steps, one at a time, and only for clients that name this machine."""

import asyncio

import pytest
from aiohttp import ClientSession

from infscale.stepwise import Steps, result_of
from infscale.telemetry.debug_documents import DebugDocuments, DebugSources, snapshot_page
from infscale.telemetry.own_metrics import OwnMetrics
from infscale.telemetry.telemetry_server import TelemetryListen, TelemetryServer
from tests.viewing.documents_of_stores import NOW, store


class Counting:
    """A document that says how often it was made, in some steps."""

    def __init__(self) -> None:
        self.began = 0
        self.ended = 0
        self.at_once = 0

    def page(self) -> Steps[object]:
        self.began += 1
        for _ in range(3):
            self.at_once = max(self.at_once, self.began - self.ended)
            yield
        self.ended += 1
        return self.ended


async def test_others_are_let_in_between_steps_and_one_is_made_at_a_time() -> None:
    made, turns = Counting(), 0
    documents = DebugDocuments({"count": made.page}, lambda: 0.0)

    async def others() -> None:
        nonlocal turns
        while made.ended < 2:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(documents.get("count")) for _ in range(2)]
        group.create_task(others())
    assert [task.result() for task in asked] == [1, 2]
    assert made.at_once == 1
    assert turns >= 6


async def test_who_takes_an_older_document_gets_it_until_it_is_too_old() -> None:
    made, now = Counting(), [10.0]
    documents = DebugDocuments({"count": made.page}, lambda: now[0])
    answers = [await documents.get("count", 1.0)]
    for now[0], most in ((10.9, 1.0), (11.0, 1.0), (11.0, 0.0)):
        answers.append(await documents.get("count", most))
    assert answers == [1, 1, 2, 3]


async def test_a_name_without_a_document_has_none() -> None:
    assert await DebugDocuments({}, lambda: 0.0).get("secrets") is None


def test_a_large_store_is_written_in_many_steps() -> None:
    steps = snapshot_page(store(200), lambda: NOW)()
    assert sum(1 for _ in steps) > 10
    assert result_of(snapshot_page(store(3), lambda: NOW)())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:9090", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:9090", 200),
        ("127.8.9.1", 200),
        ("attacker.example", 403),
        ("127.0.0.1.attacker.example", 403),
        ("10.0.0.1:9090", 403),
    ],
)
@pytest.mark.parametrize("path", ["/debug/snapshot", "/debug/none", "/ui", "/"])
async def test_a_client_that_names_another_host_is_refused(path: str, host: str, status: int) -> None:
    """A page of the web whose name is made to lead to 127.0.0.1 reads nothing."""
    listen = TelemetryListen("127.0.0.1", 0)
    async with TelemetryServer(listen, store(), OwnMetrics(), lambda: NOW) as server, ClientSession() as session:
        url = f"http://127.0.0.1:{server.port}{path}"
        async with session.get(url, headers={"Host": host}, allow_redirects=False) as answer:
            found = {"/debug/none": 404, "/": 302}.get(path, 200)
            assert answer.status == (found if status == 200 else 403)
            assert status == 200 or "vllm" not in await answer.text()


async def test_things_are_found_by_their_names_and_lines_come_one_after_the_other() -> None:
    sources = DebugSources(
        finders={"picks": {"a": {"id": 1}, "b/c d": {"id": 2}}.get},
        streams={"lines": lambda: iter([b"1\n", b"2\n"])},
    )
    listen = TelemetryListen("127.0.0.1", 0)
    async with (
        TelemetryServer(listen, store(), OwnMetrics(), lambda: NOW, sources) as server,
        ClientSession(server.url) as session,
    ):
        for name, found in (("a", {"id": 1}), ("b%2Fc%20d", {"id": 2})):
            async with session.get(f"/debug/picks/{name}") as answer:
                assert await answer.json() == found
        for path in ("/debug/picks/none", "/debug/others/a", "/debug/picks"):
            async with session.get(path) as answer:
                assert answer.status == 404
        async with session.get("/debug/lines") as answer:
            assert await answer.read() == b"1\n2\n"
        for path in ("/debug/picks/a", "/debug/lines"):
            async with session.get(path, headers={"Host": "attacker.example"}) as answer:
                assert answer.status == 403
