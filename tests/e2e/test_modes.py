"""Completion, abort, retries and usage as a real Envoy shows them, in both processing modes."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from infscale.latency.step_model import StepModel
from infscale.sim.settings import Fault, FaultKind, SimServerSettings
from picker.directing.director import PoolDirector
from tests.e2e.gateway import POOL, Gateway, gateway
from tests.sim.simulated import MODEL, QUICK, quick_settings

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(60)]
SLOW = replace(QUICK, steps=StepModel(0.02, 0.0, 0.0, 0.0))


def servers(count: int = 2) -> list[SimServerSettings]:
    return [replace(quick_settings(f"sim-{number}"), coefficients=SLOW) for number in range(count)]


def director(running: Gateway) -> PoolDirector:
    found = running.serving.directors.director(POOL)
    assert found is not None
    return found


def names(running: Gateway) -> list[str]:
    return [endpoint.key.name for endpoint in running.snapshot.endpoints]


async def until(running: Gateway, outcomes: Mapping[str, int]) -> None:
    """Wait until the picker has seen exchanges end as `outcomes` says, and nothing is in flight."""
    async with asyncio.timeout(10):
        while director(running).stats.outcomes != dict(outcomes) or running.snapshot.in_flight_requests.any():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("bodies", [False, True], ids=["recommended mode", "full duplex"])
async def test_a_stream_is_in_flight_until_its_last_byte_and_then_completed(tmp_path: Path, bodies: bool) -> None:
    body = {"model": MODEL, "prompt": "hello", "max_tokens": 20, "stream": True}
    async with (
        gateway(tmp_path, servers(), response_bodies=bodies) as running,
        running.session.post(f"{running.url}/v1/completions", json=body) as response,
    ):
        assert response.status == 200
        await response.content.readline()
        assert running.snapshot.in_flight_requests.sum() == 1
        rest = await response.text()
        assert rest.rstrip().endswith("data: [DONE]")
        await until(running, {"completed": 1})


@pytest.mark.parametrize("bodies", [False, True], ids=["recommended mode", "full duplex"])
async def test_a_client_that_leaves_frees_its_endpoint(tmp_path: Path, bodies: bool) -> None:
    body = {"model": MODEL, "prompt": "hello", "max_tokens": 400, "stream": True}
    async with gateway(tmp_path, servers(), response_bodies=bodies) as running:
        async with running.session.post(f"{running.url}/v1/completions", json=body) as response:
            await response.content.readline()
            response.close()
        async with asyncio.timeout(5):
            while running.snapshot.in_flight_requests.any():
                await asyncio.sleep(0.02)
        assert sum(director(running).stats.outcomes.values()) == 1
        if bodies:
            assert director(running).stats.outcomes == {"aborted": 1}


async def test_the_picker_learns_who_answered_after_a_refused_first_choice(tmp_path: Path) -> None:
    async with gateway(tmp_path, servers()) as running:
        first = running.fleet.find("sim-0")
        assert first is not None
        await first.inject(Fault(FaultKind.REFUSE))
        for number in range(6):
            body = {"model": MODEL, "prompt": f"{number} " * 300, "max_tokens": 4, "stream": True}
            async with running.session.post(f"{running.url}/v1/completions", json=body) as response:
                assert response.status == 200
                assert response.headers["x-inference-pod"] == "sim-1"
                await response.content.readline()
                by_name = dict(zip(names(running), running.snapshot.in_flight_requests.tolist(), strict=True))
                assert by_name["sim-0"] == 0
                await response.read()
        await until(running, {"completed": 6})
        await first.clear()
        await running.until_eligible(2)


async def test_a_request_without_a_body_reaches_a_server(tmp_path: Path) -> None:
    async with gateway(tmp_path, servers()) as running:
        async with running.session.get(f"{running.url}/v1/models") as response:
            assert response.status == 200
            assert (await response.json())["data"][0]["id"] == MODEL
        await until(running, {"completed": 1})


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(b"{not json", 400, "invalid_request_error", id="malformed"),
        pytest.param(b'{"model": "m"}', 400, "invalid_request_error", id="no prompt"),
        pytest.param(
            b'{"model": "m", "prompt": "' + b"x" * 70_000 + b'"}', 413, "invalid_request_error", id="too large"
        ),
    ],
)
async def test_a_bad_body_is_answered_with_a_json_error(tmp_path: Path, body: bytes, status: int, code: str) -> None:
    async with gateway(tmp_path, servers(1), max_body_bytes=65_536) as running:
        headers = {"content-type": "application/json"}
        async with running.session.post(f"{running.url}/v1/completions", data=body, headers=headers) as response:
            assert response.status == status
            error = (await response.json())["error"]
        assert error["type"] == code
        assert "x" * 100 not in error["message"]


async def test_a_client_cannot_choose_its_server(tmp_path: Path) -> None:
    async with gateway(tmp_path, servers(1)) as running:
        headers = {"x-gateway-destination-endpoint": "127.0.0.1:1"}
        body = {"model": MODEL, "prompt": "hello", "max_tokens": 2}
        async with running.session.post(f"{running.url}/v1/completions", json=body, headers=headers) as response:
            assert response.status == 200


async def test_without_a_fresh_endpoint_clients_hear_why_and_when_to_come_back(tmp_path: Path) -> None:
    async with gateway(tmp_path, servers(1), unknown_load="refuse") as running:
        (server,) = running.fleet.servers
        await server.inject(Fault(FaultKind.HANG))
        async with asyncio.timeout(10):
            while running.snapshot.eligible(asyncio.get_running_loop().time()).any():
                await asyncio.sleep(0.05)
        body = {"model": MODEL, "prompt": "hello", "max_tokens": 2}
        async with running.session.post(f"{running.url}/v1/completions", json=body) as response:
            assert response.status == 503
            assert float(response.headers["retry-after"]) >= 1
            message = (await response.json())["error"]["message"]
        assert "s old" in message
        code, document = await running.metric(
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/waiting_requests"
        )
        assert code == 503
        assert "timed out" in str(document["message"])
