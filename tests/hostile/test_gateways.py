"""Hostile gateways on the ext_proc port: what they are answered, and that nothing else feels them."""

import random

import pytest

from picker.transport.h2.errors import ErrorCode
from tests.hostile.harness import Installed
from tests.hostile.raw import GREETING, connected

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(60)]


async def test_http_1_is_told_what_this_port_speaks(attacked: Installed) -> None:
    async with attacked.during(), connected(attacked.picker, greeting=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") as peer:
        heard = await peer.hear()
    assert b"speaks HTTP/2 without an upgrade" in heard
    assert heard.closed


async def test_garbage_behind_a_greeting_loses_the_connection(attacked: Installed) -> None:
    rng = random.Random(1)
    async with attacked.during():
        for _ in range(50):
            async with connected(attacked.picker, greeting=GREETING + rng.randbytes(40_000)) as peer:
                heard = await peer.hear()
                assert heard.goaway not in (None, ErrorCode.NO_ERROR)
                assert heard.closed
