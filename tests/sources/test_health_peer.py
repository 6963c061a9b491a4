"""One conversation over real gRPC: watching where that is offered, asking where not, bounds on what comes."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from infscale.metrics.sample import HealthSample
from infscale.periodic import FetchError, Unreachable
from infscale.sources.grpc_health import HealthTls
from infscale.sources.health_peer import MOST_NEWS, Asked, HealthConversation
from tests.sources.health_server import NOT_SERVING, SERVING, Answers, answer, hang, listening, real_health, server_of


def asked(port: int, *names: str, service: str = "") -> Asked:
    return Asked(f"127.0.0.1:{port}", service, names, 15.0)


class Heard(list[HealthSample]):
    async def until(self, holds: Callable[[HealthSample], bool]) -> None:
        async with asyncio.timeout(10):
            while not self or not holds(self[-1]):
                await asyncio.sleep(0.002)


async def test_what_is_watched_is_told_at_once() -> None:
    heard = Heard()
    async with (
        real_health({"": SERVING, "a": SERVING, "b": NOT_SERVING}) as (port, servicer),
        HealthConversation(asked(port, "a", "b", "c"), heard.append) as talk,
    ):
        await talk.round()
        assert heard == [HealthSample(True, frozenset({"a"}), 15.0)]
        await servicer.set("b", SERVING)
        await heard.until(lambda sample: sample.names == frozenset("ab"))
        await servicer.set("c", SERVING)
        await heard.until(lambda sample: sample.names == frozenset("abc"))
        await servicer.set("", NOT_SERVING)
        await heard.until(lambda sample: sample.serving is False)
        await servicer.set("a", NOT_SERVING)
        await heard.until(lambda sample: sample.names == frozenset("bc"))


async def test_without_watch_every_round_asks() -> None:
    heard, answers = Heard(), Answers(a=SERVING)
    async with server_of(answers.check) as port, HealthConversation(asked(port, "a"), heard.append) as talk:
        await talk.round()
        assert heard[-1] == HealthSample(None, frozenset({"a"}), 15.0), "there is no status of the server itself"
        answers.statuses |= {"": NOT_SERVING, "a": NOT_SERVING}
        async with asyncio.timeout(10):
            while heard[-1] != HealthSample(False, frozenset(), 15.0):
                # A watch may not have been refused yet.
                await asyncio.sleep(0.005)
                await talk.round()
        answers.checks.clear()
        await talk.round()
        await talk.round()
        assert answers.checks == ["", "a"] * 2


async def test_what_is_watched_is_asked_for_seldom_and_the_server_always() -> None:
    answers = Answers()

    async def watch(name: str) -> AsyncIterator[bytes]:
        yield answer(SERVING)
        await asyncio.Event().wait()

    answers.statuses = {"": SERVING, "a": SERVING}
    heard = Heard()
    async with server_of(answers.check, watch) as port, HealthConversation(asked(port, "a"), heard.append) as talk:
        for _ in range(7):
            await talk.round()
            await asyncio.sleep(0.01)
        assert answers.checks == ["", "a", "", "", "", "", "", "", "a"]


async def test_a_watch_that_ends_is_begun_again_and_asked_for_meanwhile() -> None:
    answers = Answers(a=SERVING)
    answers.statuses[""] = SERVING

    async def watch(name: str) -> AsyncIterator[bytes]:
        answers.watches.append(name)
        yield answer(SERVING)

    async with server_of(answers.check, watch) as port, HealthConversation(asked(port, "a"), lambda _: None) as talk:
        async with asyncio.timeout(10):
            while answers.watches.count("a") < 3:
                await talk.round()
                await asyncio.sleep(0.02)
        assert answers.checks.count("a") >= 3


async def test_a_watch_that_floods_is_left_and_asked_instead() -> None:
    answers, told = Answers(a=SERVING), 0
    answers.statuses[""] = SERVING

    async def watch(name: str) -> AsyncIterator[bytes]:
        nonlocal told
        answers.watches.append(name)
        try:
            while name == "a":
                told += 1
                yield answer(told % 2 + 1)
            await asyncio.Event().wait()
        finally:
            left.set()

    heard, left = Heard(), asyncio.Event()
    async with server_of(answers.check, watch) as port, HealthConversation(asked(port, "a"), heard.append) as talk:
        await talk.round()
        await left.wait()
        assert len(heard) <= 1 + MOST_NEWS
        answers.statuses["a"] = NOT_SERVING
        await talk.round()
        assert answers.watches.count("a") == 1
        assert heard[-1].names == frozenset()


@pytest.mark.parametrize("reply", [answer(77), answer(0), b"\xff\xff\xff"])
async def test_a_status_that_is_none_is_unknown(reply: bytes) -> None:
    async def check(_: str) -> bytes:
        return reply

    heard = Heard()
    async with server_of(check) as port, HealthConversation(asked(port, "a"), heard.append) as talk:
        await talk.round()
    assert heard == [HealthSample(None, frozenset(), 15.0)]


async def test_an_answer_that_is_too_long_is_no_answer() -> None:
    async def check(_: str) -> bytes:
        return answer(SERVING) + b"\x7a\x80\x80\x01" + bytes(16384)

    heard = Heard()
    async with server_of(check) as port, HealthConversation(asked(port), heard.append) as talk:
        await talk.round()
    assert heard[-1].serving is None


async def test_the_server_s_own_name_can_be_another() -> None:
    heard = Heard()
    async with (
        real_health({"vllm.Engine": NOT_SERVING}) as (port, _),
        HealthConversation(asked(port, service="vllm.Engine"), heard.append) as talk,
    ):
        await talk.round()
    assert heard[0].serving is False


async def test_causes_are_in_plain_words() -> None:
    async with real_health({"": SERVING}) as (port, _):
        pass
    async with HealthConversation(asked(port), lambda _: None) as talk:
        with pytest.raises(Unreachable, match="connection refused"):
            await talk.round()
    async with real_health({"": SERVING}) as (port, _):
        plain = Asked(f"127.0.0.1:{port}", "", (), 15.0, HealthTls())
        async with HealthConversation(plain, lambda _: None) as talk:
            with pytest.raises(Unreachable, match="TLS handshake failed"):
                await talk.round()


async def test_a_hanging_server_can_be_left() -> None:
    async with server_of(hang) as port, HealthConversation(asked(port, "a"), lambda _: None) as talk:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await talk.round()


async def test_a_server_of_another_protocol_is_said() -> None:
    async with listening(lambda _: None) as port, HealthConversation(asked(port), lambda _: None) as talk:
        with pytest.raises(FetchError, match="does not speak gRPC's health protocol"):
            await talk.round()
