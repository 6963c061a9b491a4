"""What every transport does, over real sockets on loopback, asked by grpcio's client."""

import asyncio
import contextlib
import datetime
import logging
import random
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.protobuf import json_format
from grpc_health.v1 import health_pb2

from infscale.errors import StartError
from infscale.process.tls_files import TlsFiles
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.proto import ext_proc_pb2 as pb
from picker.request import Reason, Rejection
from picker.transport.grpcio_server.grpc_aio import GrpcTransport
from picker.transport.interface import EXT_PROC_SERVICE, TransportSettings
from picker.transport.server.http2 import Http2Transport
from picker.transport.transport import Transport
from tests.fakes.director import FakeDirector
from tests.picker.transport import gateway

PATH = (":path", "/v1/completions")
BODY = b'{"model":"m","prompt":"hello"}'
LARGE = b'{"model":"m","prompt":"' + b"word " * 400_000 + b'"}'


TRANSPORTS = {"grpc_aio": GrpcTransport, "http2": Http2Transport}


@dataclass
class Picker:
    """A transport and what is behind it."""

    make: type[GrpcTransport | Http2Transport]
    director: FakeDirector = field(default_factory=FakeDirector)
    ready: bool = True

    def transport(self, **settings: Any) -> Transport:
        rng = random.Random(3)
        free_port: dict[str, Any] = {"port": 0}
        return self.make(
            TransportSettings(**{**free_port, **settings}),
            lambda: Exchange(ExchangeSettings(), self.director, rng),
            time.monotonic,
            lambda: self.ready,
        )


@pytest.fixture(name="picker", params=TRANSPORTS)
def _picker(request: pytest.FixtureRequest) -> Picker:
    return Picker(TRANSPORTS[request.param])


@asynccontextmanager
async def connected(transport: Transport) -> AsyncGenerator[grpc.aio.Channel]:
    async with transport, grpc.aio.insecure_channel(f"127.0.0.1:{transport.port}") as channel:
        yield channel


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the server does on its own; the test's timeout is the limit."""
    while not condition():
        await asyncio.sleep(0.005)


async def test_an_exchange_over_the_wire(picker: Picker) -> None:
    async with connected(picker.transport()) as channel:
        stream = gateway.open_stream(channel)
        await stream.write(gateway.headers(PATH))
        await stream.write(gateway.body(BODY))
        headers = await gateway.answer(stream)
        assert headers.request_headers.response.clear_route_cache
        metadata = json_format.MessageToDict(headers.dynamic_metadata)
        assert metadata == {"envoy.lb": {"x-gateway-destination-endpoint": "10.0.0.1:8000"}}
        piece = (await gateway.answer(stream)).request_body.response.body_mutation.streamed_response
        assert (piece.body, piece.end_of_stream) == (BODY, True)
        await stream.write(gateway.response_headers((":status", "200")))
        assert (await gateway.answer(stream)).HasField("response_headers")
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF  # type: ignore[attr-defined]  # pyright: ignore
        assert await stream.code() is grpc.StatusCode.OK
    assert picker.director.outcome.kind == "completed"


async def test_an_immediate_answer_ends_the_stream(picker: Picker) -> None:
    async with connected(picker.transport()) as channel:
        stream = gateway.open_stream(channel)
        await stream.write(gateway.headers(PATH))
        await stream.write(gateway.body(b"{"))
        assert (await gateway.answer(stream)).immediate_response.status.code == 400
        assert await stream.code() is grpc.StatusCode.OK


async def test_a_cancelled_stream_releases_its_decision(picker: Picker) -> None:
    async with connected(picker.transport()) as channel:
        stream = gateway.open_stream(channel)
        await stream.write(gateway.headers(PATH, end_of_stream=True))
        await gateway.answer(stream)
        stream.cancel()
        await until(lambda: picker.director.open == 0)
    assert picker.director.outcome.kind == "aborted"


# Large bodies


async def write_body(stream: gateway.Stream, body: bytes) -> None:
    await stream.write(gateway.headers(PATH))
    for start in range(0, len(body), 60_000):
        await stream.write(gateway.body(body[start : start + 60_000], end_of_stream=start + 60_000 >= len(body)))


async def read_body(stream: gateway.Stream) -> bytes:
    assert (await gateway.answer(stream)).request_headers.response.clear_route_cache
    passed, ended = b"", False
    while not ended:
        piece = (await gateway.answer(stream)).request_body.response.body_mutation.streamed_response
        passed, ended = passed + piece.body, piece.end_of_stream
    return passed


async def test_a_gateway_that_does_not_read_a_large_body_holds_up_no_other(picker: Picker) -> None:
    body = b'{"model":"m","prompt":"' + b"word " * 3_000_000 + b'"}'
    transport = picker.transport()
    async with connected(transport) as channel:
        unread = gateway.open_stream(channel)
        await write_body(unread, body)
        await until(lambda: len(picker.director.decisions) == 1)
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{transport.port}", options=options) as other:
            stream = gateway.open_stream(other)
            await write_body(stream, LARGE)
            async with asyncio.timeout(5):
                assert await read_body(stream) == LARGE
        unread.cancel()
    assert len(picker.director.decisions) == 2


# Requests that wait for their verdicts


@pytest.mark.parametrize("body", [BODY, LARGE], ids=["short", "long"])
@pytest.mark.parametrize("half_closed", [False, True])
async def test_a_request_that_waited_is_answered_without_a_message_of_its_gateway(
    picker: Picker, body: bytes, half_closed: bool
) -> None:
    picker.director.hold = True
    async with connected(picker.transport()) as channel:
        stream = gateway.open_stream(channel)
        await write_body(stream, body)
        if half_closed:
            await stream.done_writing()
        await until(lambda: bool(picker.director.held))
        await asyncio.sleep(0.02)
        assert picker.director.let_go()
        assert await read_body(stream) == body
        if not half_closed:
            await stream.write(gateway.response_headers((":status", "200")))
            assert (await gateway.answer(stream)).HasField("response_headers")
            await stream.done_writing()
        assert await stream.code() is grpc.StatusCode.OK
    assert picker.director.outcome.kind == ("aborted" if half_closed else "completed")


async def test_a_request_that_waited_can_be_refused(picker: Picker) -> None:
    picker.director.hold = True
    async with connected(picker.transport()) as channel:
        stream = gateway.open_stream(channel)
        await stream.write(gateway.headers(PATH, end_of_stream=True))
        await until(lambda: bool(picker.director.held))
        picker.director.rejection = Rejection("ServiceUnavailable", "the queue is full", Reason.SATURATED)
        assert picker.director.let_go()
        assert (await gateway.answer(stream)).immediate_response.status.code == 503
        assert await stream.code() is grpc.StatusCode.OK
    assert picker.director.open == 0


async def test_a_request_whose_gateway_leaves_waits_no_longer(picker: Picker) -> None:
    picker.director.hold = True
    async with connected(picker.transport()) as channel:
        stream = gateway.open_stream(channel)
        await stream.write(gateway.headers(PATH, end_of_stream=True))
        await until(lambda: bool(picker.director.held))
        stream.cancel()
        await until(lambda: picker.director.given_up == 1)
        assert not picker.director.let_go()
    assert picker.director.decisions == []


async def test_a_bug_behind_a_verdict_ends_that_exchange_only(picker: Picker, caplog: pytest.LogCaptureFixture) -> None:
    picker.director.hold = True
    async with connected(picker.transport()) as channel:
        stream = gateway.open_stream(channel)
        await stream.write(gateway.headers(PATH, end_of_stream=True))
        await until(lambda: bool(picker.director.held))
        picker.director.destinations = (None,)  # type: ignore[assignment]
        assert picker.director.let_go()
        assert await stream.code() is grpc.StatusCode.INTERNAL
    assert picker.director.open == 0
    assert "exchange failed" in caplog.text


_EVICTED = Rejection("ResourceExhausted", "others need its room", Reason.EVICTED, "evicted", 1.0)


@pytest.mark.parametrize("waited", [False, True])
@pytest.mark.parametrize("begun", [False, True])
async def test_a_request_is_taken_back_without_a_message_of_its_gateway(
    picker: Picker, waited: bool, begun: bool
) -> None:
    picker.director.sheddable, picker.director.hold = True, waited
    async with connected(picker.transport()) as channel:
        stream = gateway.open_stream(channel)
        await stream.write(gateway.headers(PATH))
        await stream.write(gateway.body(BODY))
        if waited:
            await until(lambda: bool(picker.director.held))
            assert picker.director.let_go()
        assert await read_body(stream) == BODY
        if begun:
            await stream.write(gateway.response_headers((":status", "200")))
            assert (await gateway.answer(stream)).HasField("response_headers")
        assert picker.director.evict(_EVICTED)
        assert picker.director.outcome.kind == "evicted", "it has ended when it has been taken back"
        assert (await gateway.answer(stream)).immediate_response.status.code == 429
        assert await stream.code() is grpc.StatusCode.OK
        assert not picker.director.evict(_EVICTED)
    assert picker.director.open == 0


async def test_a_request_that_has_ended_is_not_taken_back(picker: Picker) -> None:
    picker.director.sheddable = True
    async with connected(picker.transport()) as channel:
        stream = gateway.open_stream(channel)
        await stream.write(gateway.headers(PATH, end_of_stream=True))
        await gateway.answer(stream)
        stream.cancel()
        await until(lambda: picker.director.open == 0)
        assert not picker.director.evict(_EVICTED)
    assert picker.director.outcome.kind == "aborted"


async def test_a_stop_ends_requests_that_wait(picker: Picker) -> None:
    picker.director.hold = True
    async with connected(picker.transport(drain_seconds=0.05, notice_seconds=0.0)) as channel:
        stream = gateway.open_stream(channel)
        await stream.write(gateway.headers(PATH, end_of_stream=True))
        await until(lambda: bool(picker.director.held))
    assert picker.director.given_up == 1
    assert not picker.director.let_go()


@pytest.mark.parametrize(
    ("data", "words"), [(b"\xff\xff", "not a ProcessingRequest"), (gateway.body(b"x"), "RequestBody is out of order")]
)
async def test_a_stream_that_breaks_the_protocol_is_told_so(picker: Picker, data: bytes, words: str) -> None:
    async with connected(picker.transport()) as channel:
        stream = gateway.open_stream(channel)
        await stream.write(data)
        assert await stream.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert words in await stream.details()


@pytest.mark.parametrize("call", ["direct", "response_started"])
async def test_a_bug_in_one_exchange_ends_that_exchange_only(
    picker: Picker, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    picker.director.crash_on = call
    async with connected(picker.transport()) as channel:
        stream = gateway.open_stream(channel)
        await stream.write(gateway.headers(PATH, end_of_stream=True))
        if call == "response_started":
            await gateway.answer(stream)
            await stream.write(gateway.response_headers((":status", "200")))
        assert await stream.code() is grpc.StatusCode.INTERNAL
        assert picker.director.open == 0
        assert [outcome.kind for outcome in picker.director.outcomes] == (
            ["error"] if picker.director.decisions else []
        )
        picker.director.crash_on = None
        again = gateway.open_stream(channel)
        await again.write(gateway.headers(PATH, end_of_stream=True))
        assert (await gateway.answer(again)).HasField("request_headers")
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR and each.name.startswith("picker")]
    assert record.message == "exchange failed"
    assert vars(record)["fields"]["error"] == "KeyError"
    assert "secret" not in f"{record.message}{vars(record)['fields']}{record.exc_text}"


async def test_a_message_larger_than_grpcs_default_passes(picker: Picker) -> None:
    body = b'{"model":"m","prompt":"' + b"x" * (5 << 20) + b'"}'
    async with connected(picker.transport()) as channel:
        stream = gateway.open_stream(channel)
        await stream.write(gateway.headers(PATH))
        await stream.write(gateway.body(body))
        await gateway.answer(stream)
        received = b""
        while len(received) < len(body):
            received += (await gateway.answer(stream)).request_body.response.body_mutation.streamed_response.body
        assert received == body
        stream.cancel()


# Listening


async def test_a_taken_port_is_said_plainly(picker: Picker) -> None:
    async with picker.transport() as first:
        with pytest.raises(StartError, match=rf"cannot listen on 127\.0\.0\.1:{first.port}: the port is taken"):
            async with picker.transport(port=first.port):
                pass


async def test_a_taken_health_port_stops_the_other_too(picker: Picker) -> None:
    async with picker.transport() as first:
        second = picker.transport(health_port=first.port)
        with pytest.raises(StartError):
            await second.__aenter__()
        async with picker.transport(port=second.port):
            pass


async def test_health_can_listen_on_another_address(picker: Picker) -> None:
    async with picker.transport(health_port=0, health_address="127.0.0.2") as transport:
        assert transport.health_port is not None
        assert await gateway.check(transport.health_port, host="127.0.0.2") == "SERVING"


def certificate(folder: Path) -> TlsFiles:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    start = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start - datetime.timedelta(hours=1))
        .not_valid_after(start + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = TlsFiles(folder / "tls.crt", folder / "tls.key")
    files.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files.key.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    return files


async def test_tls_is_served_from_files(picker: Picker, tmp_path: Path) -> None:
    files = certificate(tmp_path)
    credentials = grpc.ssl_channel_credentials(files.certificate.read_bytes())
    async with (
        picker.transport(tls=files) as transport,
        grpc.aio.secure_channel(f"localhost:{transport.port}", credentials) as channel,
    ):
        stream = gateway.open_stream(channel)
        await stream.write(gateway.headers(PATH, end_of_stream=True))
        assert (await gateway.answer(stream)).HasField("request_headers")
        stream.cancel()


async def test_a_missing_certificate_is_named(picker: Picker, tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "tls.crt", tmp_path / "tls.key")
    with pytest.raises(StartError, match=r"tls\.crt: .*No such file"):
        await picker.transport(tls=files).__aenter__()


async def test_an_encrypted_key_stops_the_start_and_no_password_is_asked_for(picker: Picker, tmp_path: Path) -> None:
    files = certificate(tmp_path)
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files.key.write_bytes(key.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"secret")))
    with pytest.raises(StartError, match="the key is encrypted"):
        await picker.transport(tls=files).__aenter__()


async def test_an_oldest_version_is_kept_or_refused(picker: Picker, tmp_path: Path) -> None:
    """grpcio cannot be told."""
    transport = picker.transport(tls=replace(certificate(tmp_path), min_version="1.3"))
    if picker.make is GrpcTransport:
        with pytest.raises(StartError, match=r"speaks TLS 1\.2 and newer"):
            await transport.__aenter__()
        return
    context = ssl.create_default_context(cafile=tmp_path / "tls.crt")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with transport:
        with pytest.raises(OSError):  # noqa: PT011 # a reset or an alert, as the two sides happen to be
            await asyncio.open_connection("localhost", transport.port, ssl=context)


@pytest.mark.parametrize("reload", [False, True])
async def test_only_gateways_of_a_given_authority_are_served(picker: Picker, tmp_path: Path, reload: bool) -> None:
    files = certificate(tmp_path)
    pair = [path.read_bytes() for path in (files.certificate, files.key)]
    # The certificate is its own authority here, for both sides.
    known = grpc.ssl_channel_credentials(pair[0], pair[1], pair[0])
    unknown = grpc.ssl_channel_credentials(pair[0])
    async with picker.transport(tls=replace(files, client_ca=files.certificate, reload=reload)) as transport:
        for credentials, served in ((known, True), (unknown, False)):
            async with grpc.aio.secure_channel(f"localhost:{transport.port}", credentials) as channel:
                stream = gateway.open_stream(channel)
                with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    await stream.write(gateway.headers(PATH, end_of_stream=True))
                    assert (await gateway.answer(stream)).HasField("request_headers") is served
                assert (stream.done() and await stream.code() is grpc.StatusCode.UNAVAILABLE) is not served
                stream.cancel()


@pytest.mark.parametrize("bad", [{"port": 70000}, {"health_port": -1}, {"drain_seconds": -1.0}], ids=repr)
def test_settings_refuse_the_impossible(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"ports are|durations are"):
        TransportSettings(**bad)


# Health


@pytest.mark.parametrize("service", ["", "readiness", EXT_PROC_SERVICE, "inference-extension"])
async def test_readiness_has_many_names(picker: Picker, service: str) -> None:
    async with picker.transport(health_port=0) as transport:
        assert transport.health_port is not None
        for port in (transport.port, transport.health_port):
            picker.ready = True
            assert await gateway.check(port, service) == "SERVING"
            picker.ready = False
            assert await gateway.check(port, service) == "NOT_SERVING"


async def test_liveness_does_not_depend_on_readiness(picker: Picker) -> None:
    picker.ready = False
    async with picker.transport() as transport:
        assert await gateway.check(transport.port, "liveness") == "SERVING"


async def test_an_unknown_service_is_not_found(picker: Picker) -> None:
    async with picker.transport() as transport:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await gateway.check(transport.port, "weather")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_any_service_can_mean_readiness(picker: Picker) -> None:
    async with picker.transport(any_health_service=True) as transport:
        for ready, answer in ((True, "SERVING"), (False, "NOT_SERVING")):
            picker.ready = ready
            assert await gateway.check(transport.port, "weather") == answer
        assert await gateway.check(transport.port, "liveness") == "SERVING"


async def test_watchers_are_told_of_unknown_services_and_of_draining(picker: Picker) -> None:
    status = health_pb2.HealthCheckResponse
    transport = picker.transport(drain_seconds=10.0, notice_seconds=0.2)
    async with connected(transport) as channel:
        assert (await gateway.watch(channel, "weather").read()).status == status.SERVICE_UNKNOWN
        watching = gateway.watch(channel)
        assert (await watching.read()).status == status.SERVING
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(transport.drain())
            assert (await watching.read()).status == status.NOT_SERVING


# Draining


async def test_draining_lets_open_exchanges_end(picker: Picker) -> None:
    transport = picker.transport(health_port=0, notice_seconds=0.1, drain_seconds=10.0)
    async with connected(transport) as channel:
        stream = gateway.open_stream(channel)
        await stream.write(gateway.headers(PATH))
        async with asyncio.TaskGroup() as tasks:
            draining = tasks.create_task(transport.drain())
            assert transport.health_port is not None
            while await gateway.check(transport.health_port) != "NOT_SERVING":
                await asyncio.sleep(0.005)
            assert await gateway.check(transport.health_port, "liveness") == "SERVING"
            while await takes_connections(transport.port):
                await asyncio.sleep(0.005)
            await stream.write(gateway.body(BODY))
            assert (await gateway.answer(stream)).HasField("request_headers")
            assert (await gateway.answer(stream)).HasField("request_body")
            assert not draining.done()
            await stream.done_writing()
            assert await stream.code() is grpc.StatusCode.OK
    assert picker.director.open == 0


async def takes_connections(port: int) -> bool:
    """Whether a new connection is accepted: it is until the notice is over."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        return False
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return True


async def test_draining_cuts_off_what_does_not_end(picker: Picker) -> None:
    transport = picker.transport(drain_seconds=0.05)
    async with connected(transport) as channel:
        stream = gateway.open_stream(channel)
        await stream.write(gateway.headers(PATH, end_of_stream=True))
        await gateway.answer(stream)
        await transport.drain()
        assert await stream.code() is not grpc.StatusCode.OK
    assert picker.director.open == 0


# Bodies that do not come, or are too much together


async def test_a_body_that_stops_arriving_is_answered(picker: Picker) -> None:
    transport = picker.transport(body_timeout_seconds=0.4)
    async with connected(transport) as channel:
        stream = gateway.open_stream(channel)
        await stream.write(gateway.headers(PATH))
        async with asyncio.TaskGroup() as tasks:
            reply = tasks.create_task(gateway.answer(stream))
            while not reply.done():
                # A byte now and then is no progress.
                with contextlib.suppress(asyncio.InvalidStateError):
                    await stream.write(gateway.body(b"x", end_of_stream=False))
                await asyncio.sleep(0.05)
        assert reply.result().immediate_response.status.code == 408
        assert await stream.code() is grpc.StatusCode.OK
        assert transport.counts["stalled_body"] == 1
        assert transport.budget.held_bytes == 0


async def test_a_stream_on_which_nothing_comes_is_ended(picker: Picker) -> None:
    transport = picker.transport(body_timeout_seconds=0.3)
    async with connected(transport) as channel:
        stream = gateway.open_stream(channel)
        await stream.write(gateway.headers(PATH))
        reply = await gateway.answer(stream)
        assert reply.immediate_response.status.code == 408


async def test_a_response_may_take_as_long_as_it_likes(picker: Picker) -> None:
    async with connected(picker.transport(body_timeout_seconds=0.2)) as channel:
        stream = gateway.open_stream(channel)
        await stream.write(gateway.headers(PATH, end_of_stream=True))
        assert (await gateway.answer(stream)).HasField("request_headers")
        # A body that stops later is given up: the limit has passed meanwhile, and has not ended the first exchange.
        later = gateway.open_stream(channel)
        await later.write(gateway.headers(PATH))
        assert (await gateway.answer(later)).immediate_response.status.code == 408
        await stream.write(gateway.response_headers((":status", "200")))
        assert (await gateway.answer(stream)).HasField("response_headers")
        stream.cancel()


async def test_bodies_that_find_no_room_wait_for_the_eldest_and_not_for_ever(picker: Picker) -> None:
    """Three bodies of 3 MB where 6 MB are held at most: the first arrives, those held back too long are told 503."""
    body = b'{"model":"m","prompt":"' + b"x" * (3 << 20) + b'"}'
    transport = picker.transport(max_buffered_bytes=6 << 20, max_body_bytes=4 << 20, body_timeout_seconds=0.5)
    async with connected(transport) as channel:
        streams = [gateway.open_stream(channel) for _ in range(3)]
        for stream in streams:
            await stream.write(gateway.headers(PATH))
        async with asyncio.TaskGroup() as tasks:
            for stream in streams:
                tasks.create_task(in_pieces(stream, body[:-2]))
            answers = [tasks.create_task(stream.read()) for stream in streams[1:]]
            await until(lambda: all(answer.done() for answer in answers))
        assert {status(answer.result()) for answer in answers} <= {408, 503}
        await until(lambda: transport.budget.held_bytes == 0)


async def in_pieces(stream: Any, body: bytes) -> None:
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        for place in range(0, len(body), 60_000):
            await stream.write(gateway.body(body[place : place + 60_000], end_of_stream=False))


def status(data: Any) -> int:
    return pb.ProcessingResponse.FromString(data).immediate_response.status.code
