"""Behind a real Envoy Gateway, requests reach the server that the picker chose."""

import asyncio
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from infscale.sim.settings import Fault, FaultKind
from tests.gateway.stages import NAMES, TOKEN_SECONDS, Stage, fleet, prompt, stage
from tests.sim.simulated import MODEL

pytestmark = [pytest.mark.gateway, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(90)]

REQUESTS = 60
FEW_REQUESTS = 12
TOKENS = 200
ENVOYS_LIMIT_SECONDS = 15.0
"""What a route of Envoy's takes for granted where nothing says how long an answer may take."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def example(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Stage, None]:
    """The example as it is."""
    async with stage(tmp_path_factory.mktemp("example")) as made:
        yield made


@pytest.mark.parametrize("transport", ["http2", "grpc_aio"])
async def test_every_request_is_answered_by_the_server_that_was_chosen(
    example: Stage, tmp_path: Path, transport: str
) -> None:
    async with example.picker(tmp_path, transport=transport) as picker:
        # One after another, so that answers are in the order of the decisions.
        answers = [await example.client.ask(prompt(number)) for number in range(REQUESTS)]
        assert {answer.status for answer in answers} == {200}
        assert [answer.server for answer in answers] == picker.chosen
        assert set(picker.chosen) == set(NAMES)


@pytest.mark.parametrize("transport", ["http2", "grpc_aio"])
async def test_tokens_arrive_while_the_server_makes_others(example: Stage, tmp_path: Path, transport: str) -> None:
    body = {"model": MODEL, "prompt": "hello", "max_tokens": TOKENS, "stream": True}
    async with example.picker(tmp_path, transport=transport) as picker:
        async with example.client.session.post(f"{example.client.url}/v1/completions", json=body) as response:
            assert response.status == 200
            [chosen] = picker.chosen
            assert response.headers["x-inference-pod"] == chosen
            early = 0
            async for line in response.content:
                if line.startswith(b"data: {"):
                    [running_now] = [
                        server.running for server in example.fleet.servers if server.settings.name == chosen
                    ]
                    # The picker counts it as in flight for as long: its stream ends with the response trailers.
                    early += bool(running_now and picker.in_flight)
        assert early > TOKENS / 2
        async with asyncio.timeout(5):
            while picker.director.stats.outcomes != {"completed": 1} or picker.in_flight:
                await asyncio.sleep(0.02)


async def test_an_answer_may_take_longer_than_envoy_allows_by_itself(example: Stage, tmp_path: Path) -> None:
    async with example.picker(tmp_path):
        started = time.monotonic()
        answer = await example.client.ask("hello", tokens=int((ENVOYS_LIMIT_SECONDS + 1) / TOKEN_SECONDS))
        assert time.monotonic() - started > ENVOYS_LIMIT_SECONDS
        assert answer.status == 200


async def test_the_second_destination_gets_what_the_first_refuses(example: Stage, tmp_path: Path) -> None:
    async with example.picker(tmp_path, destinations=2) as picker:
        refusing = example.fleet.servers[0]
        await refusing.inject(Fault(FaultKind.REFUSE))
        try:
            for number in range(FEW_REQUESTS):
                answer = await example.client.ask(prompt(number))
                assert answer.status == 200
                assert answer.server != refusing.settings.name
            assert refusing.settings.name in picker.chosen
        finally:
            await refusing.clear()


async def test_a_destination_that_envoy_does_not_know_is_passed_over(example: Stage, tmp_path: Path) -> None:
    async with fleet(["stranger"]) as strangers, example.picker(tmp_path, strangers.discovery_document()) as picker:
        answers = [await example.client.ask(prompt(number)) for number in range(FEW_REQUESTS)]
        assert {answer.status for answer in answers} == {200}
        assert {answer.server for answer in answers} <= set(NAMES)
        assert set(picker.chosen) == {"stranger"}
