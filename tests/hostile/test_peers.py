"""Hostile peers that infscale asks or answers beside its main work: Prometheus servers, KEDA, gRPC health."""

import asyncio
import json
import urllib.request
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from infscale.demo.child_processes import free_ports
from tests.hostile.harness import Installed, installed
from tests.keda.keda_client import SERVICE, Keda, channel, refused
from tests.prometheus.fake_prometheus import Answer, FakePrometheus, endless, hang, listening, saying, vector
from tests.sources.health_server import SERVING, answer, server_of
from tests.sources.health_server import hang as silent

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(60)]

SECONDS = 1.5
"""Several rounds of whatever is asked."""
QUERY = "backlog_requests"
SLO = {"pool": "default", "slo": "ttft_p90=1s"}


@dataclass
class Peered:
    """What is attacked, and the ports at which its peers are."""

    installed: Installed
    prometheus: int
    health: int
    keda: int

    def document(self) -> Any:
        """What it shows of its pool."""
        url = f"http://127.0.0.1:{self.installed.telemetry}/debug/snapshot"
        with urllib.request.urlopen(url, timeout=5) as found:
            [pool] = json.loads(found.read())["pools"]
        return pool

    def said_of_query(self) -> str:
        """Why the query has no newer value."""
        queried = self.document()["queried"].get(QUERY)
        return "" if queried is None else queried["last_failure"] or ""


@pytest.fixture(name="peered", scope="module")
def _peered(tmp_path_factory: pytest.TempPathFactory) -> Generator[Peered, None, None]:
    prometheus, health, keda = free_ports(3)
    server = {"url": f"http://127.0.0.1:{prometheus}", "timeout_seconds": 0.4, "workers": 2}
    query = {"name": QUERY, "unit": "requests", "query": "x", "interval_seconds": 0.2, "staleness_limit_seconds": 1.0}
    sections: dict[str, Any] = {
        "prometheus": {"servers": {"main": server}, "queries": [query]},
        "grpc_health": {"port": health, "interval_seconds": 0.3, "timeout_seconds": 0.2},
        "keda": {"listen": f"127.0.0.1:{keda}"},
    }
    with installed(tmp_path_factory.mktemp("peered"), **sections) as made:
        yield Peered(made, prometheus, health, keda)


def many(rows: int) -> Answer:
    """An answer of so many rows, written once."""
    text = json.dumps(vector(*[({"pod": f"pod-{number}", "filler": "x" * 40}, "1") for number in range(rows)]))
    return saying(text=text)


PROMETHEUS: dict[str, tuple[Answer | None, str]] = {
    "nothing listens": (None, "refused"),
    "no answer": (hang, "timed out after 0.4 s"),
    "a body a byte at a time": (endless(b" ", 0.01), "timed out after 0.4 s"),
    "a body without an end": (endless(b"[" * 65_536, 0.0), "larger than max_bytes"),
    "200,000 rows": (many(200_000), "larger than max_bytes"),
    "30,000 rows": (many(30_000), "series"),
    "HTTP 500": (saying(code=500, text="<html>oops"), "HTTP status 500"),
    "a part of the answer, with a warning": (saying({**vector(), "warnings": ["one store is down"]}), "store is down"),
    "an answer of another type": (
        saying({"status": "success", "data": {"resultType": "matrix", "result": []}}),
        "of type matrix",
    ),
    "a million brackets": (saying(text="[" * 1_000_000), "no JSON"),
    "not a number": (saying(vector(({}, "NaN"))), ""),
    "a redirect to itself": (saying(code=302, text="", headers={"Location": "/"}), "a redirect"),
}


@pytest.mark.parametrize("name", PROMETHEUS)
async def test_a_prometheus_harms_its_own_values_at_most(peered: Peered, name: str) -> None:
    """Its query is unknown with the cause, and picks do not wait."""
    said, cause = PROMETHEUS[name]
    async with peered.installed.during(least_seconds=SECONDS):
        if said is None:
            await peered.installed.until(lambda: cause in peered.said_of_query())
            return
        async with listening(FakePrometheus(answer=said), port=peered.prometheus):
            await peered.installed.until(lambda: cause in peered.said_of_query())
            await asyncio.sleep(SECONDS)


async def flood(_: str) -> AsyncIterator[bytes]:
    while True:
        yield answer(SERVING)


async def long(_: str) -> AsyncIterator[bytes]:
    while True:
        yield b"\x0a" + b"\xff\xff\xff\x03" + b"x" * 0x7F_FFFF
        await asyncio.sleep(0.01)


async def no_message(_: str) -> AsyncIterator[bytes]:
    while True:
        yield b"\xff" * 1_000
        await asyncio.sleep(0.001)


async def serving(_: str) -> bytes:
    return answer(SERVING)


HEALTH = {
    "states without end": flood,
    "messages of 8 MiB": long,
    "messages that are none": no_message,
}


@pytest.mark.parametrize("name", [*HEALTH, "no answer"])
async def test_a_server_of_health_harms_nothing(peered: Peered, name: str) -> None:
    """What cannot be read is unknown: endpoints stay as ready as discovery says."""
    watch = HEALTH.get(name)
    check = silent if watch is None else serving
    async with server_of(check, watch, peered.health), peered.installed.during():
        await asyncio.sleep(SECONDS)
    assert all(each["eligible"] for each in (await asyncio.to_thread(peered.document))["endpoints"])


async def test_streams_of_keda_are_bounded_and_wait_for_nothing(peered: Peered) -> None:
    """Those beyond the limit are told so, or cancelled by grpcio where they come too fast; calls are answered."""
    open_streams = 'infscale_keda_streams{method="StreamIsActive"}'
    async with channel(peered.keda) as opened, channel(peered.keda) as other, peered.installed.during():
        streams = [Keda(opened, SLO, namespace="default").stream_active() for _ in range(2_500)]
        await peered.installed.until(lambda: peered.installed.metric(open_streams) >= 1_900)
        assert await Keda(other, SLO, namespace="default").specs()
        await streams[-1].code()
        assert peered.installed.metric(open_streams) <= 2_000
        ended = [await each.code() for each in streams if each.done()]
        assert len(ended) >= 500
        assert set(ended) <= {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED}
        for each in streams:
            each.cancel()
    await peered.installed.until(lambda: peered.installed.metric(open_streams) == 0)


CALLS: dict[str, tuple[bytes, str]] = {
    "a message of 4 MiB": (b"\x0a" + b"\xff\xff\xff\x01" + b"x" * 0x3F_FFFF, "RESOURCE_EXHAUSTED"),
    "bytes that are no message": (b"\xff" * 1_000, "INVALID_ARGUMENT"),
    "1,000 keys": (b"".join(b"\x1a\x09\x0a\x04k%03d\x12\x01x" % number for number in range(1_000)), "INVALID_ARGUMENT"),
    "no ScaledObject": (b"", "INVALID_ARGUMENT"),
}


@pytest.mark.parametrize("name", CALLS)
async def test_calls_of_keda_that_cannot_be_read_are_refused(peered: Peered, name: str) -> None:
    message, codes = CALLS[name]
    async with channel(peered.keda) as opened, peered.installed.during():
        call: Any = opened.unary_unary(f"/{SERVICE}/GetMetricSpec", None, None)
        for _ in range(50):
            code, _ = await refused(call(message))
            assert code in codes.split("|")


async def test_connections_that_say_nothing_leave_keda_room(peered: Peered) -> None:
    connections = [await asyncio.open_connection("127.0.0.1", peered.keda) for _ in range(300)]
    async with channel(peered.keda) as opened, peered.installed.during():
        assert await Keda(opened, SLO, namespace="default").specs()
    for _, writer in connections:
        writer.close()
