"""What KEDA needs of an external scaler, over real gRPC: each line of its behaviour that a scaler can get wrong."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from grpc_health.v1 import health_pb2

from infscale.endpoint import Phase
from infscale.errors import StartError
from infscale.keda.external_scaler import ScalerSettings
from infscale.keda.scaler_server import ScalerListen, ScalerServer, ScalerTls, whole
from infscale.metrics.saturation import SaturationSettings
from infscale.metrics.snapshot import PoolSettings
from tests.fakes.certificates import SERVER, Authority, Issued, authority
from tests.keda.keda_client import NAME, SERVICE, Keda, channel, ended, refused, specs_in
from tests.keda.pools import CHAT, STALE, Pools, asked, server

WAITING = {"metric": "waiting_requests", "pool": "chat", "target": "5"}
SLO = {"slo": "ttft_p90=1s", "pool": "chat"}


@asynccontextmanager
async def serving(pools: Pools, look_seconds: float = 0.1, **listen: Any) -> AsyncGenerator[ScalerServer]:
    settings = ScalerListen(port=0, look_seconds=look_seconds, **listen)
    async with ScalerServer(settings, pools.scaler, pools.store, pools.clock) as scaler:
        yield scaler


@asynccontextmanager
async def asking(pools: Pools, **listen: Any) -> AsyncGenerator[tuple[ScalerServer, grpc.aio.Channel]]:
    async with serving(pools, **listen) as scaler, channel(scaler.port) as opened:
        yield scaler, opened


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the server does on its own; the test's timeout is the limit."""
    while not condition():
        await asyncio.sleep(0.002)


async def pushed(stream: Any) -> bool:
    async with asyncio.timeout(5):
        return bool((await stream.read()).result)


# Calls


@pytest.mark.parametrize(
    ("waiting", "target", "metric", "spec"),
    [
        (3.0, "5", (3, 3.0), (5, 5.0)),
        (0.0, "2.5", (0, 0.0), (3, 2.5)),
        (0.4, "500m", (1, 0.4), (1, 0.5)),
    ],
)
async def test_a_poll_is_answered_in_both_number_fields(
    waiting: float, target: str, metric: tuple[int, float], spec: tuple[int, float]
) -> None:
    """Older versions of KEDA read the integer; newer ones the float, and where that is 0 the integer."""
    pools = Pools([server(0)])
    pools.scrape(waiting)
    async with asking(pools) as (_, opened):
        keda = Keda(opened, {**WAITING, "target": target})
        assert await keda.specs() == {"waiting_requests": spec}
        assert await keda.metrics("waiting_requests") == {"waiting_requests": metric}
        assert await keda.is_active() is (waiting > 0)


async def test_exactly_the_metric_that_is_asked_for_is_returned() -> None:
    """KEDA adds up whatever comes, under whatever name."""
    pools = Pools([server(0)])
    pools.scrape(3.0)
    async with asking(pools) as (_, opened):
        keda = Keda(opened, WAITING)
        assert len(await keda.metrics("waiting_requests")) == 1
        assert await refused(keda.metrics("running_requests")) == (
            "NOT_FOUND",
            "ScaledObject llm/chat: the metric of this trigger is waiting_requests, "
            "and 'running_requests' was asked for",
        )


async def test_a_specification_is_one_metric_without_a_slash_and_a_target_that_keda_takes() -> None:
    async with asking(Pools()) as (_, opened):
        for metadata in (WAITING, SLO, {"metric": "in_flight_tokens", "pool": "chat"}):
            [(name, (size, size_float))] = (await Keda(opened, metadata).specs()).items()
            assert "/" not in name
            assert size >= 1
            assert size_float >= 0.001


async def test_a_value_that_is_unknown_is_an_error_with_age_and_cause_and_its_target_is_still_told() -> None:
    """KEDA's fallback counts failures of GetMetrics, and never fires while GetMetricSpec fails."""
    pools = Pools([server(0)])
    pools.scrape(3.0)
    pools.now += STALE + 5
    pools.store.record_failure(server(0).key, "connection refused", pools.now)
    async with asking(pools) as (_, opened):
        for metadata, name in ((WAITING, "waiting_requests"), (SLO, "infscale_replicas_of_load")):
            keda = Keda(opened, metadata)
            assert list(await keda.specs()) == [name]
            code, words = await refused(keda.metrics(name))
            assert code == "UNAVAILABLE"
            assert words.startswith("ScaledObject llm/chat: ")
            assert "the oldest is 7.0 s old: connection refused" in words
            assert await keda.is_active()


async def test_an_empty_pool_is_polled_without_an_error() -> None:
    """An error at 0 replicas would have KEDA scale to the fallback's."""
    async with asking(Pools()) as (_, opened):
        for metadata in (WAITING, SLO):
            keda = Keda(opened, metadata)
            assert await keda.value() == 0.0
            assert not await keda.is_active()


@pytest.mark.parametrize(
    ("metadata", "code", "words"),
    [
        ({**WAITING, "pol": "x"}, "INVALID_ARGUMENT", "pol: there is no such key; did you mean pool?"),
        ({**WAITING, "target": "0"}, "INVALID_ARGUMENT", "target: expected at least 0.001"),
        ({"metric": "nothing", "pool": "chat"}, "NOT_FOUND", "metric: there is no metric 'nothing'"),
    ],
)
async def test_mistakes_are_told_by_every_method(metadata: dict[str, str], code: str, words: str) -> None:
    async with asking(Pools()) as (_, opened):
        keda = Keda(opened, metadata)
        for call in (keda.specs(), keda.metrics("x"), keda.is_active()):
            found, message = await refused(call)
            assert (found, message.startswith(f"ScaledObject llm/chat: {words}")) == (code, True), message
        for stream in (keda.stream_active(), keda.stream_specs()):
            assert await ended(stream) == (code, [])


async def test_a_call_that_names_no_scaled_object_is_refused() -> None:
    async with asking(Pools()) as (_, opened):
        assert (await refused(Keda(opened, WAITING, name="").is_active()))[0] == "INVALID_ARGUMENT"
        assert (await refused(Keda(opened, WAITING, namespace="").specs()))[0] == "INVALID_ARGUMENT"


async def test_calls_are_answered_while_many_streams_are_open() -> None:
    """KEDA opens two for each trigger and goes on polling; it waits for one answer before the next."""
    pools = Pools([server(0)])
    pools.scrape(3.0)
    async with asking(pools, look_seconds=2.0) as (scaler, opened):
        streams = [
            stream
            for number in range(200)
            for keda in [Keda(opened, WAITING, name=f"chat-{number}")]
            for stream in (keda.stream_active(), keda.stream_specs())
        ]
        for stream in streams:
            await stream.read()
        assert scaler.counts.open == {"StreamIsActive": 200, "StreamMetricSpec": 200}
        started = time.perf_counter()
        keda = Keda(opened, WAITING)
        for _ in range(50):
            await keda.value()
        assert time.perf_counter() - started < 5
        for stream in streams:
            stream.cancel()
        await until(lambda: not any(scaler.counts.open.values()))


# Activation


async def test_a_request_for_an_empty_pool_reaches_the_stream_within_100_milliseconds() -> None:
    pools = Pools()
    taken: list[float] = []
    async with asking(pools) as (_, opened):
        keda = Keda(opened, WAITING)
        for _ in range(15):
            stream = keda.stream_active()
            assert not await pushed(stream)
            started = time.perf_counter()
            pools.ask()
            assert await pushed(stream)
            taken.append(time.perf_counter() - started)
            assert await keda.is_active(), "a push that a poll contradicts is taken back at the next one"
            stream.cancel()
            pools.now += 301
            assert not await keda.is_active()
    print(f"\nactivation reached the stream after {sorted(taken)[7] * 1000:.1f} ms (median of 15)")
    assert sorted(taken)[-2] < 0.1


async def test_a_stream_begins_with_the_state_there_is() -> None:
    pools = Pools()
    async with asking(pools) as (scaler, opened):
        pools.ask()
        assert await pushed(Keda(opened, WAITING).stream_active())
        assert await pushed(Keda(opened, SLO).stream_active())
        assert scaler.counts.pushes == {"StreamIsActive": 2, "StreamMetricSpec": 0}


async def test_streams_and_calls_agree_whatever_happens() -> None:
    pools = Pools([server(0)])
    async with asking(pools) as (_, opened):
        keda = Keda(opened, SLO)
        stream = keda.stream_active()
        for running, state in ((1.0, True), (0.0, False), (4.0, True)):
            pools.scrape(running=running)
            while await pushed(stream) is not state:
                pass
            assert await keda.is_active() is state
        pools.discover()
        assert not await pushed(stream)
        assert not await keda.is_active()
        pools.ask()
        assert await pushed(stream)
        # A pod that starts is not a reason to end what a request began.
        pools.discover(server(0, phase=Phase.STARTING))
        assert await keda.is_active()


async def test_a_stream_for_a_pool_that_comes_later_stays_open() -> None:
    """KEDA opens a stream that broke up to a minute later."""
    pools = Pools(names=("code",))
    async with asking(pools) as (scaler, opened):
        keda = Keda(opened, WAITING)
        assert (await refused(keda.is_active()))[0] == "NOT_FOUND"
        stream = keda.stream_active()
        await until(lambda: scaler.counts.open["StreamIsActive"] == 1)
        pools.names = ("code", "chat")
        pools.discover()
        pools.ask()
        assert await pushed(stream)


async def test_requests_for_one_pool_wake_the_streams_of_that_pool_only() -> None:
    pools = Pools(names=("chat", "code"))
    async with asking(pools) as (scaler, opened):
        chat = Keda(opened, WAITING).stream_active()
        code = Keda(opened, {**WAITING, "pool": "code"}).stream_active()
        every = Keda(opened, {"metric": "waiting_requests", "target": "5"}).stream_active()
        assert [await pushed(each) for each in (chat, code, every)] == [False] * 3
        pools.ask("code")
        assert [await pushed(each) for each in (code, every)] == [True] * 2
        assert scaler.counts.pushes["StreamIsActive"] == 5


async def test_open_streams_are_counted_by_the_trigger_they_tell_of() -> None:
    pools = Pools()
    async with asking(pools) as (scaler, opened):
        waiting, slo = Keda(opened, WAITING), Keda(opened, SLO)
        streams = [waiting.stream_active(), waiting.stream_active(), slo.stream_active()]
        for each in streams:
            await pushed(each)
        await slo.stream_specs().read()
        triggers = [pools.scaler.trigger(asked(each)) for each in (WAITING, SLO)]
        assert scaler.streams() == dict(zip(triggers, (2, 1), strict=True)), "that of targets tells of no activity"
        streams[0].cancel()
        await until(lambda: scaler.streams()[triggers[0]] == 1)


# Targets that change


async def test_a_target_is_streamed_at_once_and_when_it_changes() -> None:
    pools = Pools(judged={CHAT: PoolSettings(saturation=SaturationSettings(queue_depth_threshold=4.0))})
    async with asking(pools) as (_, opened):
        keda = Keda(opened, {"metric": "waiting_requests", "pool": "chat"})
        stream = keda.stream_specs()
        assert specs_in(await stream.read()) == {"waiting_requests": (4, 4.0)}
        pools.judged[CHAT] = PoolSettings(saturation=SaturationSettings(queue_depth_threshold=6.0))
        async with asyncio.timeout(5):
            assert specs_in(await stream.read()) == {"waiting_requests": (6, 6.0)} == await keda.specs()


# The end


async def test_streams_end_in_order_when_the_server_does() -> None:
    """KEDA opens a stream that ended with OK after 2 s, one that broke up to a minute later."""
    pools = Pools()
    async with contextlib.AsyncExitStack() as stack:
        scaler = await stack.enter_async_context(serving(pools))
        channels = [await stack.enter_async_context(channel(scaler.port)) for _ in range(4)]
        streams = [
            stream
            for opened in channels
            for _ in range(25)
            for stream in (Keda(opened, WAITING).stream_active(), Keda(opened, WAITING).stream_specs())
        ]
        await until(lambda: sum(scaler.counts.open.values()) == len(streams))
        started = time.perf_counter()
        await scaler.drain()
        taken = time.perf_counter() - started
        endings = [await ended(stream) for stream in streams]
        assert [code for code, _ in endings] == ["OK"] * len(streams)
        assert all(len(messages) <= 1 for _, messages in endings)
        assert taken < 2
        assert (await refused(Keda(channels[0], WAITING).is_active()))[0] == "UNAVAILABLE"


async def test_it_ends_quickly_with_a_client_that_does_nothing() -> None:
    async with serving(Pools()) as scaler, channel(scaler.port) as opened:
        await Keda(opened, WAITING).specs()
        started = time.perf_counter()
        await scaler.drain()
        assert time.perf_counter() - started < 1.5


async def test_health() -> None:
    async with asking(Pools()) as (scaler, opened):
        check: Any = opened.unary_unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        for service in ("", SERVICE):
            reply = await check(health_pb2.HealthCheckRequest(service=service))
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
        assert (await refused(check(health_pb2.HealthCheckRequest(service="x"))))[0] == "NOT_FOUND"
        watch: Any = opened.unary_stream(
            "/grpc.health.v1.Health/Watch",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        stream = watch(health_pb2.HealthCheckRequest())
        assert (await stream.read()).status == health_pb2.HealthCheckResponse.SERVING
        drained = asyncio.ensure_future(scaler.drain())  # noqa: TID251 # beside what is watched
        assert (await stream.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        await drained


async def test_a_port_that_is_taken_stops_the_start() -> None:
    async with serving(Pools()) as scaler:
        with pytest.raises(StartError, match=r"cannot listen on 127\.0\.0\.1:\d+: the port is taken.*keda\.listen"):
            async with ScalerServer(ScalerListen(port=scaler.port), Pools().scaler, Pools().store, lambda: 0.0):
                pass


# Limits


async def test_streams_are_limited_in_all_and_of_one_address() -> None:
    for listen, key in (({"max_streams": 3}, "max_streams"), ({"max_peer_streams": 3}, "max_peer_streams")):
        async with asking(Pools(), **listen) as (scaler, opened):
            keda = Keda(opened, WAITING)
            streams = [keda.stream_active() for _ in range(3)]
            for stream in streams:
                assert not await pushed(stream)
            refusal = keda.stream_active()
            assert await ended(refusal) == ("RESOURCE_EXHAUSTED", [])
            assert await refusal.details() == f"ScaledObject llm/chat: 3 streams are open, as many as keda.{key} allows"
            # Calls go on, and a place that is given back is taken.
            assert not await keda.is_active()
            streams[0].cancel()
            await until(lambda scaler=scaler: scaler.counts.open["StreamIsActive"] == 2)
            assert not await pushed(keda.stream_active())
            assert scaler.counts.calls["StreamIsActive", "RESOURCE_EXHAUSTED"] == 1
            assert scaler.counts.calls["StreamIsActive", "CANCELLED"] == 1


async def test_large_messages_are_refused() -> None:
    async with asking(Pools()) as (_, opened):
        keda = Keda(opened, {**WAITING, **{f"key{number}": "x" * 1000 for number in range(20)}})
        assert (await refused(keda.is_active()))[0] == "RESOURCE_EXHAUSTED"
        keda = Keda(opened, {**WAITING, **{f"key{number}": "x" for number in range(100)}})
        code, words = await refused(keda.is_active())
        assert (code, words) == ("INVALID_ARGUMENT", "ScaledObject llm/chat: its trigger has more than 64 keys")


@pytest.mark.parametrize("method", ["IsActive", "GetMetricSpec", "GetMetrics", "StreamIsActive", "StreamMetricSpec"])
async def test_bytes_that_are_no_message_end_that_call_alone(method: str, caplog: pytest.LogCaptureFixture) -> None:
    async with asking(Pools()) as (_, opened):
        make = opened.unary_stream if method.startswith("Stream") else opened.unary_unary
        call: Any = make(f"/{SERVICE}/{method}", lambda raw: raw, lambda raw: raw)
        code, words = await refused(
            call(b"\xff\xff\xff").read() if method.startswith("Stream") else call(b"\xff\xff\xff")
        )
        assert code == "INVALID_ARGUMENT"
        assert "the message is no " in words
        assert not await Keda(opened, WAITING).is_active()
    assert not [each for each in caplog.records if each.levelname == "ERROR"]


async def test_a_fault_of_the_scaler_is_logged_without_what_was_sent(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools = Pools()

    def fails(*_: object) -> bool:
        raise RuntimeError("secret")

    monkeypatch.setattr(pools.scaler, "active", fails)
    async with asking(pools) as (scaler, opened):
        keda = Keda(opened, WAITING)
        assert await refused(keda.is_active()) == ("INTERNAL", "the scaler failed on this call; its log says where")
        assert await ended(keda.stream_active()) == ("INTERNAL", [])
        assert scaler.counts.calls["IsActive", "INTERNAL"] == 1
    assert "the external scaler failed to answer IsActive: RuntimeError at" in caplog.text
    assert "secret" not in caplog.text


async def test_a_fault_in_looking_at_loads_is_logged_once_and_ends_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools = Pools()
    looks: list[float] = []

    def fails(now: float) -> None:
        looks.append(now)
        raise RuntimeError("secret")

    monkeypatch.setattr(pools.scaler, "observe", fails)
    async with asking(pools, look_seconds=0.01) as (_, opened):
        await until(lambda: len(looks) > 3)
        assert not await Keda(opened, WAITING).is_active()
    assert caplog.text.count("the external scaler failed to look at loads: RuntimeError at") == 1


# TLS


class Files:
    """PEM files of a certificate for the scaler, and what clients present."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = authority("scaler")
        self.clients = authority("clients")
        self.renew(self.ca)
        (folder / "clients.crt").write_text(self.clients.pem)

    def renew(self, ca: Authority) -> None:
        names = x509.SubjectAlternativeName([x509.DNSName(NAME[1])])
        issued = ca.issue(NAME[1], usage=SERVER, extensions=[(names, False)])
        (self.folder / "tls.key").write_bytes(key_of(issued))
        (self.folder / "tls.crt").write_text(issued.pem)

    def tls(self, *, mutual: bool = False) -> ScalerTls:
        client_ca = self.folder / "clients.crt" if mutual else None
        return ScalerTls(self.folder / "tls.crt", self.folder / "tls.key", client_ca)


def key_of(issued: Issued) -> bytes:
    return issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def believing(ca: Authority, client: Issued | None = None) -> grpc.ChannelCredentials:
    if client is None:
        return grpc.ssl_channel_credentials(ca.pem.encode())
    return grpc.ssl_channel_credentials(ca.pem.encode(), key_of(client), client.pem.encode())


async def asked_with(port: int, credentials: grpc.ChannelCredentials | None) -> str:
    """The code of a call on a new connection."""
    async with channel(port, credentials) as opened:
        try:
            await Keda(opened, WAITING).is_active()
        except grpc.aio.AioRpcError as error:
            return error.code().name
        return "OK"


async def test_tls(tmp_path: Path) -> None:
    files = Files(tmp_path)
    async with serving(Pools(), tls=files.tls()) as scaler:
        assert await asked_with(scaler.port, believing(files.ca)) == "OK"
        assert await asked_with(scaler.port, believing(authority("another"))) == "UNAVAILABLE"
        assert await asked_with(scaler.port, None) == "UNAVAILABLE"


async def test_mutual_tls(tmp_path: Path) -> None:
    files = Files(tmp_path)
    async with serving(Pools(), tls=files.tls(mutual=True)) as scaler:
        operator, stranger = files.clients.issue("keda-operator"), authority("strangers").issue("keda-operator")
        assert await asked_with(scaler.port, believing(files.ca, operator)) == "OK"
        assert await asked_with(scaler.port, believing(files.ca)) == "UNAVAILABLE"
        assert await asked_with(scaler.port, believing(files.ca, stranger)) == "UNAVAILABLE"
        assert await asked_with(scaler.port, None) == "UNAVAILABLE"


async def test_tls_against_a_plain_port_fails(tmp_path: Path) -> None:
    async with serving(Pools()) as scaler:
        assert await asked_with(scaler.port, believing(Files(tmp_path).ca)) == "UNAVAILABLE"


@pytest.mark.parametrize("what", ["certificate", "client_ca"])
async def test_files_that_change_are_served_with(tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    files = Files(tmp_path)
    async with serving(Pools(), tls=files.tls(mutual=True)) as scaler:
        client = files.clients.issue("keda-operator")
        before = believing(files.ca, client)
        async with channel(scaler.port, before) as opened:
            stream = Keda(opened, WAITING).stream_active()
            assert not await pushed(stream)
            if what == "certificate":
                new = authority("renewed")
                await asyncio.to_thread(files.renew, new)
                after = believing(new, client)
            else:
                new = authority("other clients")
                (tmp_path / "clients.crt").write_text(new.pem)
                after = believing(files.ca, new.issue("keda-operator"))
            async with asyncio.timeout(10):
                while await asked_with(scaler.port, after) != "OK":
                    await asyncio.sleep(0.05)
            assert await asked_with(scaler.port, before) == "UNAVAILABLE"
            # What is open stays open.
            assert not await Keda(opened, WAITING).is_active()
            (tmp_path / "tls.crt").write_text("half of it")
            await until(lambda: "the changed certificate is refused" in caplog.text)
            assert await asked_with(scaler.port, after) == "OK"


async def test_files_that_do_not_work_stop_the_start(tmp_path: Path) -> None:
    files = Files(tmp_path)
    (tmp_path / "tls.key").write_text("no key")
    with pytest.raises(StartError, match=r"the external scaler cannot serve with .*no certificate with its key"):
        async with serving(Pools(), tls=files.tls()):
            pass


@pytest.mark.parametrize(("number", "written"), [(0.0, 0), (0.001, 1), (2.0, 2), (2.1, 3), (1e15, 10**15)])
def test_numbers_for_versions_that_read_integers(number: float, written: int) -> None:
    assert whole(number) == written


async def test_an_activation_outlives_the_stream_it_was_pushed_on() -> None:
    """A stream that is opened again is told at once."""
    pools = Pools(settings=ScalerSettings(activation_seconds=10.0))
    async with asking(pools) as (_, opened):
        keda = Keda(opened, WAITING)
        stream = keda.stream_active()
        assert not await pushed(stream)
        pools.ask()
        assert await pushed(stream)
        stream.cancel()
        assert await pushed(keda.stream_active())
        pools.now += 11
        assert not await pushed(keda.stream_active())
