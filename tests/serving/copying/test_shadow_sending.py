"""Copies over TLS, with answers that are too long, and what becomes of one when the part ends or has a fault."""

import asyncio
import logging
import re
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from infscale.config.settings import ScrapeSettings
from infscale.config.shadow_settings import ShadowSettings
from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.metrics.store.metrics_store import MetricStore
from infscale.process.certificates import self_signed
from infscale.scrape.tls_trust import PageCertificates
from infscale.serving.copying import shadow_sending
from infscale.serving.copying.shadow_sending import ShadowSending
from picker.parsing import DEFAULT_PARSERS, parse_body
from picker.pick_record import PickRecord
from picker.request import Decision, Headers, InferenceRequest, Outcome
from picker.shadowing.shadow_director import ShadowCopy
from tests.fakes.certificates import authority as certificate_authority
from tests.fakes.director import FakeDirector
from tests.fakes.samples import engine_sample
from tests.scrape.test_fetch import written

CHAT, NEXT = ObjectKey("llm", "chat"), ObjectKey("llm", "next")
BODY = b'{"model": "llama", "prompt": "hello"}'
TO_NEXT = ShadowSettings(1.0, NEXT, timeout_seconds=2.0)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def answers(request: web.Request) -> web.Response:
    assert await request.read() == BODY
    # Text of an answer is no number of tokens.
    text = 'said: "completion_tokens": 99'
    answer = web.json_response({"usage": {"completion_tokens": 7}, "choices": [{"text": text}]})
    answer.set_cookie("a", "b")
    return answer


class Sent:
    """One candidate at a port, and requests that are copied to it."""

    def __init__(self, port: int, scrape: ScrapeSettings, settings: ShadowSettings = TO_NEXT) -> None:
        self.store = MetricStore("s")
        self.part = ShadowSending(FakeDirector(), {CHAT: (settings,)}, lambda: scrape, self.store, time.monotonic)
        endpoint = Endpoint(EndpointKey("llm", "next-0"), "127.0.0.1", port, {"pool": "next"})
        state = DiscoveryState((endpoint,), (Pool(NEXT, {"pool": "next"}),))
        self.store.sync(state)
        self.part.sync(state)
        self.store.record_scrape(endpoint.key, engine_sample(0.0, 0.0, 0.1), time.monotonic())

    def ask(self, number: int = 0) -> None:
        """A request is sent on, and answered."""
        route = DEFAULT_PARSERS.route("/v1/completions")
        assert route is not None
        request = InferenceRequest(f"id-{number}", "/v1/completions", Headers(), parse_body(route, BODY))
        record = PickRecord("id", "llama", "s.1", 0.0, ("10.0.0.1:8000",), 1)
        decision = Decision(("10.0.0.1:8000",), "llama", "s.1", pool=CHAT, record=record)
        self.part.director.sent(request, decision, BODY)
        self.part.director.finished(request, decision, Outcome("completed", 200, completion_tokens=5), time.monotonic())

    @property
    def counts(self) -> Any:
        (counts,) = self.part.director.books.ways.values()
        return counts

    def in_flight(self) -> float:
        snapshot = self.store.snapshot(NEXT)
        assert snapshot is not None
        return float(snapshot.in_flight_requests.sum())

    async def results(self) -> dict[str, int]:
        """How copies ended, once all have."""
        while self.counts.open_requests:
            await asyncio.sleep(0.01)
        assert (self.in_flight(), self.counts.held_bytes) == (0, 0)
        return {copy: count for (_, copy), count in self.counts.answers.items()}


@asynccontextmanager
async def candidate(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    app = web.Application()
    app.router.add_post("/v1/completions", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_copies_believe_and_show_what_scrapes_do(tmp_path: Path) -> None:
    signer = certificate_authority()
    clients, _ = await asyncio.to_thread(written, tmp_path, "clients", signer)
    client = await asyncio.to_thread(written, tmp_path, "client", signer.issue("picker"))
    pair = self_signed("server", datetime.now(UTC).replace(microsecond=0), timedelta(days=1))
    server = await asyncio.to_thread(written, tmp_path, "server", pair)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    await asyncio.to_thread(context.load_cert_chain, *server)
    context.verify_mode = ssl.CERT_REQUIRED
    await asyncio.to_thread(context.load_verify_locations, clients)
    async with candidate(answers, context) as port:
        for certificates, verify, result in (
            (PageCertificates(server[0], client), True, "2xx"),
            (PageCertificates(server[0], client, "localhost"), True, "2xx"),
            (PageCertificates(None, client), False, "2xx"),
            (PageCertificates(server[0], client, "other.example"), True, "unreachable"),
            (PageCertificates(tmp_path / "none", client), True, "unreachable"),
            (None, True, "unreachable"),
        ):
            scrape = ScrapeSettings(scheme="https", certificates=certificates, verify_tls=verify)
            sent = Sent(port, scrape)
            async with sent.part:
                sent.ask()
                assert await sent.results() == {result: 1}, certificates


async def test_what_an_answer_sets_is_forgotten_and_its_tokens_are_read() -> None:
    cookies: list[str | None] = []

    async def notes(request: web.Request) -> web.Response:
        cookies.append(request.headers.get("Cookie"))
        return await answers(request)

    async with candidate(notes) as port:
        sent = Sent(port, ScrapeSettings())
        async with sent.part:
            for number in range(2):
                sent.ask(number)
                await sent.results()
        assert cookies == [None, None]
        assert sent.counts.answers == {("2xx", "2xx"): 2}
        assert sent.counts.tokens == (10, 14)


async def test_an_answer_is_read_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow_sending, "_MOST_ANSWER_BYTES", 100_000)

    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        while True:
            await answer.write(b"x" * 10_000)

    async with candidate(endless) as port:
        sent = Sent(port, ScrapeSettings())
        async with sent.part:
            sent.ask()
            assert await sent.results() == {"cut": 1}


async def test_copies_that_have_not_begun_or_are_under_way_are_stopped_at_the_end() -> None:
    asked = asyncio.Event()

    async def hangs(request: web.Request) -> web.Response:
        asked.set()
        await asyncio.sleep(60)
        return await answers(request)

    async with candidate(hangs) as port:
        sent = Sent(port, ScrapeSettings())
        async with sent.part:
            sent.ask(0)
            await asked.wait()
            # Nothing of this one's task has run when the part ends.
            sent.ask(1)
        sent.ask(2)
        assert await sent.results() == {"stopped": 3}


async def test_a_fault_of_a_copy_ends_that_copy_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with candidate(answers) as port:
        sent = Sent(port, ScrapeSettings())
        going = sent.part.director.going
        async with sent.part:

            def faulty(copy: ShadowCopy) -> None:
                going(copy)
                copy.authority = None  # type: ignore[assignment] # what no code does
                copy.headers = None  # type: ignore[assignment]

            with caplog.at_level(logging.ERROR), monkeypatch.context() as patched:
                patched.setattr(sent.part.director, "going", faulty)
                sent.ask(0)
                assert await sent.results() == {"broken": 1}
            assert re.search("a copy of a request failed", caplog.text)
            assert "hello" not in caplog.text, "nothing of prompts is logged"
            sent.ask(1)
            assert await sent.results() == {"broken": 1, "2xx": 1}


def test_pools_that_there_are_not_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        sent = Sent(8000, ScrapeSettings())
        sent.part.sync(DiscoveryState((), (Pool(NEXT, {}),)))
        assert [each.message for each in caplog.records] == ["picker.shadow names pools that there are not"]
        sent.part.sync(DiscoveryState((), (Pool(NEXT, {}), Pool(CHAT, {}))))
        assert len(caplog.records) == 1
