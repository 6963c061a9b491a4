"""Servers that start and stop as they are told; one that stops first answers what it has."""

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from infscale.demo.changing_servers import ChangingServers
from infscale.errors import InfscaleError

BODY = {"model": "meta-llama/Llama-3.1-8B-Instruct", "prompt": "Hello", "max_tokens": 40}


async def test_a_server_answers_what_it_has_before_it_is_gone() -> None:
    told: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
    async with (
        ChangingServers("llama-3.1-8b-h100", random.Random(1), told.put_nowait) as changing,
        aiohttp.ClientSession() as session,
    ):
        changing.obey({"start": "server-0"})
        started = await told.get()
        assert started["started"] == "server-0"
        url = f"http://{started['address']}:{started['port']}/v1/completions"
        async with session.post(url, json={**BODY, "stream": True}) as response:
            # It has begun, and is told to stop.
            changing.obey({"stop": "server-0"})
            assert b"[DONE]" in await response.read()
        assert await told.get() == {"stopped": "server-0"}
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.post(url, json=BODY)


@pytest.mark.parametrize("order", [{"stop": "server-9"}, {"begin": "server-0"}, {}])
async def test_an_order_that_is_none_is_refused(order: dict[str, str]) -> None:
    async with ChangingServers("llama-3.1-8b-h100", random.Random(1), lambda _: None) as changing:
        with pytest.raises(InfscaleError, match="no order for the servers"):
            changing.obey(order)


async def test_servers_are_gone_with_their_owner() -> None:
    told: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
    async with ChangingServers("llama-3.1-8b-h100", random.Random(1), told.put_nowait) as changing:
        changing.obey({"start": "server-0"})
        started = await told.get()
    with pytest.raises(OSError, match=r"."):
        await asyncio.open_connection(started["address"], started["port"])
