"""The load generator is open-loop, measures from when a request was due, and names every failure."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import orjson
import pytest
from aiohttp import web

from infscale.sim.load.load_generator import LoadSettings, Outcome, send_all
from infscale.sim.load.load_requests import LoadRequest

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(answer: Answer) -> AsyncGenerator[str, None]:
    runner = web.ServerRunner(web.Server(answer, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def requests(*due: float) -> list[LoadRequest]:
    return [LoadRequest(at, "/v1/completions", orjson.dumps({"number": n}), 8, 3) for n, at in enumerate(due)]


async def sent(url: str, *due: float, timeout: float = 5.0) -> list[Outcome]:
    outcomes: list[Outcome] = []
    await send_all(requests(*due), LoadSettings(url, timeout), outcomes.append)
    return sorted(outcomes, key=lambda outcome: outcome.number)


def event(document: object) -> bytes:
    return b"data: " + orjson.dumps(document) + b"\n\n"


ROLE = event({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
TOKEN = event({"choices": [{"delta": {"content": " sea"}}]})
USAGE = event(
    {
        "choices": [],
        "usage": {"prompt_tokens": 90, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 64}},
    }
)
DONE = b"data: [DONE]\n\n"


def streaming(*parts: bytes | float, status: int = 200) -> Answer:
    """Writes bytes and waits seconds, in order."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={"x-inference-pod": "pod-3"})
        await response.prepare(request)
        for part in parts:
            if isinstance(part, bytes):
                await response.write(part)
            else:
                await asyncio.sleep(part)
        return response

    return answer


async def test_first_token_gap_and_usage_are_read_from_the_stream() -> None:
    async with served(streaming(ROLE, 0.1, TOKEN, 0.1, TOKEN, 0.1, TOKEN + USAGE + DONE)) as url:
        (outcome,) = await sent(url, 0.0)
    assert outcome.failure is None
    assert (outcome.status, outcome.endpoint) == (200, "pod-3")
    assert (outcome.prompt_tokens, outcome.cached_tokens, outcome.output_tokens) == (90, 64, 3)
    assert outcome.ttft_seconds is not None
    assert outcome.tpot_seconds is not None
    assert outcome.ttft_seconds >= 0.09, "the role event is no token"
    assert outcome.tpot_seconds >= 0.08, "two gaps over three tokens"
    assert outcome.ended_at >= 0.28


async def test_a_first_token_cut_in_two_is_still_seen() -> None:
    async with served(streaming(ROLE + TOKEN[:20], 0.05, TOKEN[20:] + USAGE + DONE)) as url:
        (outcome,) = await sent(url, 0.0)
    assert outcome.failure is None
    assert outcome.ttft_seconds is not None
    assert outcome.ttft_seconds >= 0.04


async def test_requests_are_sent_when_due_although_earlier_ones_are_not_answered() -> None:
    started: list[float] = []

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        started.append(asyncio.get_running_loop().time())
        return await streaming(0.5, TOKEN + USAGE + DONE)(request)

    async with served(slow) as url:
        outcomes = await sent(url, 0.0, 0.1, 0.2)
    assert started[2] - started[0] < 0.4
    assert all(outcome.failure is None for outcome in outcomes)


async def test_a_late_send_counts_into_the_time_to_first_token() -> None:
    """A stalled generator must not hide the wait it caused."""

    async def stalling(request: web.BaseRequest) -> web.StreamResponse:
        body: dict[str, int] = orjson.loads(await request.read())
        if body["number"] == 0:
            stop = asyncio.get_running_loop().time() + 0.3
            while asyncio.get_running_loop().time() < stop:
                pass
        return await streaming(TOKEN + USAGE + DONE)(request)

    async with served(stalling) as url:
        _, second = await sent(url, 0.0, 0.1)
    assert second.lag_seconds >= 0.15
    assert second.ttft_seconds is not None
    assert second.ttft_seconds >= second.lag_seconds


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        pytest.param(streaming(b"{}", status=503), "status 503", id="refused by status"),
        pytest.param(streaming(TOKEN), "stream cut", id="no end mark"),
        pytest.param(streaming(ROLE + DONE), "no token", id="no token"),
        pytest.param(streaming(TOKEN, 30.0), "timeout", id="hangs"),
    ],
)
async def test_failures_are_named(answer: Answer, failure: str) -> None:
    async with served(answer) as url:
        (outcome,) = await sent(url, 0.0, timeout=0.3)
    assert outcome.failure == failure


async def test_a_connection_cut_mid_stream_is_a_failure() -> None:
    async def cut(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(TOKEN)
        assert request.transport is not None
        request.transport.abort()
        return response

    async with served(cut) as url:
        (outcome,) = await sent(url, 0.0)
    assert outcome.failure == "stream cut"
    assert outcome.ttft_seconds is not None


async def test_a_refused_connection_is_a_failure() -> None:
    async with served(streaming()) as url:
        pass
    (outcome,) = await sent(url, 0.0)
    assert (outcome.failure, outcome.status) == ("connection refused", None)


async def test_a_client_of_a_session_sends_what_the_newest_answer_gave_it() -> None:
    seen: list[tuple[str, str | None]] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        seen.append((request.headers["x-tenant"], request.headers.get("x-infscale-session")))
        response = web.StreamResponse(headers={"x-infscale-session": f"token-{len(seen)}"})
        await response.prepare(request)
        await response.write(TOKEN + DONE)
        return response

    turns = [
        LoadRequest(at, "/v1/completions", b"{}", 8, 3, (("x-tenant", "light"),), session)
        for at, session in ((0.0, 1), (0.1, 1), (0.2, 2), (0.3, 1), (0.4, None))
    ]
    async with served(answer) as url:
        await send_all(turns, LoadSettings(url, 5.0), lambda _: None)
    assert seen == [("light", token) for token in (None, "token-1", None, "token-2", None)]


@pytest.mark.parametrize(
    ("headers", "failure"),
    [
        ({"x-llm-d-request-dropped-reason": "rejected-ttl-expired", "retry-after": "7"}, "with Retry-After"),
        ({"x-llm-d-request-dropped-reason": "rejected-ttl-expired"}, "429 rejected-ttl-expired"),
    ],
)
async def test_a_refusal_by_the_picker_is_told_from_a_failure(headers: dict[str, str], failure: str) -> None:
    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=429, headers=headers)

    async with served(answer) as url:
        (outcome,) = await sent(url, 0.0)
    assert outcome.refused
    assert outcome.failure is not None
    assert outcome.failure.endswith(failure)
    assert outcome.failure.startswith("429 rejected-ttl-expired")
    async with served(streaming(status=429)) as url:
        (outcome,) = await sent(url, 0.0)
    assert (outcome.refused, outcome.failure) == (False, "status 429")
