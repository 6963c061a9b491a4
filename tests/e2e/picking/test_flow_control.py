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


async def ask(running: Gateway, name: str, words: int, tokens: int = 2) -> int:
    body = {"model": MODEL, "prompt": f"{name} " + "word " * words, "max_tokens": tokens}
    headers = {"x-request-id": name}
    async with running.session.post(f"{running.url}/v1/completions", json=body, headers=headers) as response:
        await response.read()
        return response.status


async def until_known(running: Gateway) -> None:
    """Send requests until it is known how long the steps of the server take; the test's timeout is the limit."""
    number = 0
    while not running.snapshot.columns.steps.usable.all():
        number += 1
        await asyncio.gather(*[ask(running, f"known-{number}-{each}", 200, 40) for each in range(4)])
    while running.snapshot.in_flight_requests.sum():
        await asyncio.sleep(0.01)


def picks(running: Gateway) -> list[PickRecord]:
    """In order, of requests since steps are known."""
    (records, _) = running.serving.directors.picks()[POOL]
    return [each for each in records if not each.request_id.startswith("known-")]


async def until_waiting(running: Gateway, least: int, most: int = 1_000) -> None:
    """Wait until so many requests wait in the picker; the test's timeout is the limit."""
    while not least <= await waiting(running) <= most:
        await asyncio.sleep(0.01)


async def waiting(running: Gateway) -> float:
    name = 'infscale_flow_waiting_requests{pool="default/default",priority="0"} '
    async with running.session.get(f"{running.serving.telemetry.url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return sum([float(line.removeprefix(name)) for line in lines if line.startswith(name)])


async def test_requests_wait_in_the_picker_short_ones_pass_and_all_are_answered(tmp_path: Path) -> None:
    server = quick_settings("slow-0", {"num_blocks": 4_096}, coefficients=SLOW)
    async with gateway(tmp_path, [server]) as running, asyncio.TaskGroup() as group:
        await until_known(running)
        tasks = [group.create_task(ask(running, f"long-{number}", LONG_WORDS)) for number in range(8)]
        await until_waiting(running, 4)
        gone = len(picks(running))
        assert gone <= 4
        tasks.append(group.create_task(ask(running, "short", 10)))
        assert await asyncio.gather(*tasks) == [200] * 9
        order = [pick.request_id for pick in picks(running)]
        assert order.index("short") <= gone + 1, (
            "it passes those that wait, but for one that may have gone before it came"
        )
        waited = {pick.request_id: pick.waited_seconds for pick in picks(running)}
        assert sum(seconds is not None and seconds > 0.02 for seconds in waited.values()) >= 3
        while running.snapshot.in_flight_requests.sum():
            await asyncio.sleep(0.01)


async def test_a_wait_that_is_too_long_ends_with_the_reason_and_when_to_come_back(tmp_path: Path) -> None:
    server = quick_settings("slow-0", {"num_blocks": 4_096}, coefficients=SLOW)
    async with gateway(tmp_path, [server], flow_control={"max_wait_seconds": 0.1}) as running:
        await until_known(running)

        async def one(number: int) -> tuple[int, str | None, str]:
            body = {"model": MODEL, "prompt": f"{number} " + "word " * LONG_WORDS, "max_tokens": 2}
            async with running.session.post(f"{running.url}/v1/completions", json=body) as response:
                return response.status, response.headers.get("retry-after"), await response.text()

        answers = await asyncio.gather(*[one(number) for number in range(12)])
        refused = [each for each in answers if each[0] != 200]
        assert len(refused) >= 3
        said = ("has waited", "would wait")
        assert all(status == 429 and after and any(each in text for each in said) for status, after, text in refused)
        while running.snapshot.in_flight_requests.sum():
            await asyncio.sleep(0.01)


async def test_a_client_that_leaves_while_it_waits_leaves_nothing_behind(tmp_path: Path) -> None:
    server = quick_settings("slow-0", {"num_blocks": 4_096}, coefficients=SLOW)
    async with gateway(tmp_path, [server]) as running:
        await until_known(running)
        tasks = [asyncio.ensure_future(ask(running, f"r{number}", LONG_WORDS)) for number in range(6)]  # noqa: TID251 # cancelled one by one
        await until_waiting(running, 3)
        for task in tasks[1:]:
            task.cancel()
        await until_waiting(running, 0, 0)
        assert await tasks[0] == 200
        assert len(picks(running)) < len(tasks)
