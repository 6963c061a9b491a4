"""Requests that wait in the picker, through a real Envoy to a slow server."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from picker.pick_record import PickRecord
from tests.e2e.gateway import POOL, Gateway, gateway
from tests.sim.simulated import MODEL, QUICK, quick_settings

pytestmark = [pytest.mark.envoy, pytest.mark.timeout(60)]

LONG_WORDS = 4_000
SLOW = replace(QUICK, steps=replace(QUICK.steps, per_prefill_token=6e-5), num_blocks=4_096)
"""About 5,000 tokens of a long prompt take 0.3 s."""


async def ask(running: Gateway, name: str, words: int) -> int:
    body = {"model": MODEL, "prompt": f"{name} " + "word " * words, "max_tokens": 2}
    headers = {"x-request-id": name}
    async with running.session.post(f"{running.url}/v1/completions", json=body, headers=headers) as response:
        await response.read()
        return response.status


def picks(running: Gateway) -> list[PickRecord]:
    """In order."""
    (records, _) = running.serving.directors.picks()[POOL]
    return list(records)


async def until_waiting(running: Gateway, count: int) -> None:
    """Wait until so many requests wait in the picker; the test's timeout is the limit."""
    name = 'infscale_flow_waiting_requests{pool="default/default",priority="0"}'
    while True:
        async with running.session.get(f"{running.serving.telemetry.url}/metrics") as response:
            if f"{name} {count:.1f}" in await response.text():
                return
        await asyncio.sleep(0.01)


async def test_requests_wait_in_the_picker_short_ones_pass_and_all_are_answered(tmp_path: Path) -> None:
    server = quick_settings("slow-0", {"num_blocks": 4_096}, coefficients=SLOW)
    async with gateway(tmp_path, [server], flow_control={"enabled": True}) as running, asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(running, f"long-{number}", LONG_WORDS)) for number in range(5)]
        await until_waiting(running, 4)
        assert float(running.snapshot.in_flight_requests.sum()) == 1
        tasks.append(group.create_task(ask(running, "short", 10)))
        assert await asyncio.gather(*tasks) == [200] * 6
        order = [pick.request_id for pick in picks(running)]
        assert order.index("short") <= 2, "it passes those that wait, but for one that may have gone before it came"
        waited = {pick.request_id: pick.waited_seconds for pick in picks(running)}
        assert sum(seconds is not None and seconds > 0.2 for seconds in waited.values()) >= 3
        while running.snapshot.in_flight_requests.sum():
            await asyncio.sleep(0.01)


async def test_a_wait_that_is_too_long_ends_with_the_reason_and_when_to_come_back(tmp_path: Path) -> None:
    server = quick_settings("slow-0", {"num_blocks": 4_096}, coefficients=SLOW)
    flow = {"enabled": True, "max_wait_seconds": 0.1}
    async with gateway(tmp_path, [server], flow_control=flow) as running:

        async def one(number: int) -> tuple[int, str | None, str]:
            body = {"model": MODEL, "prompt": f"{number} " + "word " * LONG_WORDS, "max_tokens": 2}
            async with running.session.post(f"{running.url}/v1/completions", json=body) as response:
                return response.status, response.headers.get("retry-after"), await response.text()

        answers = await asyncio.gather(*[one(number) for number in range(6)])
        refused = [each for each in answers if each[0] != 200]
        assert len(refused) >= 3
        said = ("has waited", "would wait")
        assert all(status == 429 and after and any(each in text for each in said) for status, after, text in refused)
        while running.snapshot.in_flight_requests.sum():
            await asyncio.sleep(0.01)


async def test_a_client_that_leaves_while_it_waits_leaves_nothing_behind(tmp_path: Path) -> None:
    server = quick_settings("slow-0", {"num_blocks": 4_096}, coefficients=SLOW)
    async with gateway(tmp_path, [server], flow_control={"enabled": True}) as running:
        tasks = [asyncio.ensure_future(ask(running, f"r{number}", LONG_WORDS)) for number in range(4)]  # noqa: TID251 # cancelled one by one
        await until_waiting(running, 3)
        for task in tasks[1:]:
            task.cancel()
        await until_waiting(running, 0)
        assert await tasks[0] == 200
        assert len(picks(running)) == 1
