"""Hostile gateways on the ext_proc port: what they are answered, and that nothing else feels them."""

import asyncio
import contextlib
import random
import ssl
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from infscale.demo.child_processes import free_ports
from lab.certificates import Authority
from picker.proto import ext_proc_pb2 as pb
from picker.transport.h2 import frames
from picker.transport.h2.frames import Kind, frame
from picker.transport.h2.hpack import literal
from tests.hostile.harness import Installed, installed, program
from tests.hostile.raw import GREETING, PROCESS, Peer, connected, data, listening, opened, windows
from tests.picker.transport import gateway

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(60)]

FLOOD_SECONDS = 0.8
BODY_SECONDS = 3.0
MIB = 1 << 20
CHAT = (":path", "/v1/completions")


def message(content: bytes, flag: int = 0) -> bytes:
    """A message as gRPC writes it."""
    return bytes((flag,)) + len(content).to_bytes(4, "big") + content


def pieces(stream: int, content: bytes) -> bytes:
    """Any bytes in frames of data."""
    size = frames.MIN_MAX_FRAME_BYTES
    return b"".join(data(stream, content[place : place + size]) for place in range(0, len(content), size))


@pytest.fixture(name="attacked", scope="module")
def _attacked(tmp_path_factory: pytest.TempPathFactory) -> Generator[Installed, None, None]:
    """The usual, less patient."""
    with installed(tmp_path_factory.mktemp("gateways"), picker={"body_timeout_seconds": BODY_SECONDS}) as made:
        yield made


HEAD = message(gateway.headers(CHAT))
"""The headers of a request whose body is still to come."""


# Floods: they go on, and others do not wait for them

CANCEL = int(ErrorCodes.CANCEL).to_bytes(4, "big")
FLOODS: dict[str, tuple[bytes, bytes]] = {
    "empty DATA": (opened(1), data(1, b"") * 3_000),
    "padded DATA without data": (opened(1), frame(Kind.DATA, frames.PADDED, 1, b"\0") * 3_000),
    "data of one byte": (opened(1) + data(1, b"\0\1\0\0\0"), data(1, b"x") * 3_000),
    "empty messages": (opened(1), data(1, message(b"") * 3_000)),
    "pieces of body of one byte": (
        opened(1) + data(1, HEAD),
        data(1, message(gateway.body(b"x", end_of_stream=False)) * 1_000) * 4,
    ),
    "PING": (b"", frame(Kind.PING, 0, 0, b"12345678") * 3_000),
    "SETTINGS": (b"", frames.settings(()) * 3_000),
    "SETTINGS of 2,700 entries": (b"", frame(Kind.SETTINGS, 0, 0, b"\0\4\0\0\xff\xff" * 2_700) * 10),
    "acknowledged SETTINGS": (b"", frames.SETTINGS_ACK * 3_000),
    "PRIORITY": (b"", frame(Kind.PRIORITY, 0, 1, b"\0\0\0\3\0") * 3_000),
    "WINDOW_UPDATE": (opened(1), frames.window_update(1, 1) * 3_000),
    "unknown frames": (b"", frame(0x77, 0, 0) * 3_000),  # type: ignore[arg-type]  # pyright: ignore
    "GOAWAY": (b"", frames.goaway(0, ErrorCodes.NO_ERROR) * 3_000),
    "RST_STREAM of a stream that is over": (
        opened(1) + frame(Kind.RST_STREAM, 0, 1, CANCEL),
        frame(Kind.RST_STREAM, 0, 1, CANCEL) * 3_000,
    ),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_costs_its_own_connection_alone(attacked: Installed, name: str) -> None:
    before, flood = FLOODS[name]
    waited = attacked.metric('infscale_picker_limits_total{limit="loop_turn"}')
    async with attacked.during(), listening(attacked.picker) as peer:
        peer.write(before)
        written = await peer.flood(flood, FLOOD_SECONDS)
    assert written >= len(flood)
    assert attacked.metric('infscale_picker_limits_total{limit="loop_turn"}') > waited


RAPID: dict[str, Callable[[int], bytes]] = {
    "reset by the client": lambda stream: opened(stream) + frame(Kind.RST_STREAM, 0, stream, CANCEL),
    "made to be reset": lambda stream: opened(stream) + frames.window_update(stream, 0),
    "with a request": lambda stream: (
        opened(stream)
        + data(stream, message(gateway.headers(CHAT, end_of_stream=True)))
        + frame(Kind.RST_STREAM, 0, stream, CANCEL)
    ),
    "of an unknown method": lambda stream: opened(stream, PROCESS.replace(b"Process", b"Procezz")),
    "that are not gRPC": lambda stream: (
        opened(stream, PROCESS.replace(b"application/grpc", b"application/json")) * 1
        + frame(Kind.RST_STREAM, 0, stream, CANCEL)
    ),
}


@pytest.mark.parametrize("name", RAPID)
async def test_streams_opened_and_ended_without_end(attacked: Installed, name: str) -> None:
    async with attacked.during(), listening(attacked.picker) as peer:
        loop, stream = asyncio.get_running_loop(), 1
        stop = loop.time() + FLOOD_SECONDS
        while loop.time() < stop and not peer.heard.closed:
            peer.write(*map(RAPID[name], range(stream, stream + 400, 2)))
            stream += 400
            with contextlib.suppress(ConnectionError):
                await peer.writer.drain()
    assert stream > 401
    assert peer.heard.goaway is None, "a gateway with many clients that leave is no attacker"


async def test_many_connections_flood_at_once(attacked: Installed) -> None:
    async def one() -> None:
        async with listening(attacked.picker) as peer:
            peer.write(opened(1))
            await peer.flood(data(1, b"") * 3_000, FLOOD_SECONDS)

    async with attacked.during(), asyncio.TaskGroup() as group:
        for _ in range(30):
            group.create_task(one())


# What loses the connection, or the stream

FIELD = literal(b"x-field", b"x" * 1_000)
FAULTS: dict[str, tuple[bytes, ErrorCodes]] = {
    "a header block without end": (
        frame(Kind.HEADERS, 0, 1, PROCESS) + frame(Kind.CONTINUATION, 0, 1, b"\0" * 16_000) * 8,
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "CONTINUATION of one byte": (
        frame(Kind.HEADERS, 0, 1, PROCESS) + frame(Kind.CONTINUATION, 0, 1, b"\0") * 3_000,
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "empty CONTINUATION": (
        frame(Kind.HEADERS, 0, 1, PROCESS) + frame(Kind.CONTINUATION, 0, 1, b"") * 3_000,
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "a huge header list": (
        frame(Kind.HEADERS, 0, 1, PROCESS + FIELD * 15)
        + frame(Kind.CONTINUATION, 0, 1, FIELD * 15) * 4
        + frame(Kind.CONTINUATION, frames.END_HEADERS, 1, FIELD),
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "many small fields": (opened(1, PROCESS + b"\x90" * 15_000), ErrorCodes.ENHANCE_YOUR_CALM),
    "a number without end": (opened(1, b"\x7f" + b"\xff" * 4_000), ErrorCodes.COMPRESSION_ERROR),
    "a table that grows": (opened(1, b"\x3f\xff\xff\xff\x07"), ErrorCodes.COMPRESSION_ERROR),
    "a window beyond its limit": (frames.window_update(0, frames.MAX_WINDOW), ErrorCodes.FLOW_CONTROL_ERROR),
    "windows resized again and again": (
        b"".join(map(opened, range(1, 1_001, 2)))
        + b"".join(frames.settings(((SettingCodes.INITIAL_WINDOW_SIZE, size),)) for size in range(1_000)),
        ErrorCodes.ENHANCE_YOUR_CALM,
    ),
    "a frame of 16 MiB": (b"\xff\xff\xff\0\0\0\0\0\1", ErrorCodes.FRAME_SIZE_ERROR),
    "PUSH_PROMISE": (frame(Kind.PUSH_PROMISE, 4, 1, b"\0\0\0\2"), ErrorCodes.PROTOCOL_ERROR),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_what_breaks_the_protocol_loses_its_connection_and_is_told(attacked: Installed, name: str) -> None:
    sent, code = FAULTS[name]
    async with attacked.during(least_seconds=0.3):
        for _ in range(20):
            async with connected(attacked.picker) as peer:
                peer.write(sent)
                heard = await peer.hear()
            assert heard.goaway is code
            assert heard.closed


async def test_garbage_behind_a_greeting_loses_the_connection(attacked: Installed) -> None:
    rng = random.Random(1)
    async with attacked.during():
        for _ in range(50):
            async with connected(attacked.picker, greeting=GREETING + rng.randbytes(40_000)) as peer:
                heard = await peer.hear()
                assert heard.goaway not in (None, ErrorCodes.NO_ERROR)
                assert heard.closed


async def test_http_1_is_told_what_this_port_speaks(attacked: Installed) -> None:
    asked = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    async with attacked.during(least_seconds=0.3), connected(attacked.picker, greeting=asked) as peer:
        heard = await peer.hear()
    assert b"speaks HTTP/2 without an upgrade" in heard
    assert heard.closed


def response(content: bytes) -> bytes:
    return message(pb.ProcessingRequest(response_body=pb.HttpBody(body=content)).SerializeToString())


ENDS: dict[str, tuple[bytes, bytes]] = {
    "a message of 4 GiB": (b"\0\xff\xff\xff\xff", b"a%20message%20is%20larger"),
    "a compressed message": (message(b"x", flag=1), b"uncompressed"),
    "a message that is not ext_proc": (message(b"\xff" * 1_000), b"not%20a%20ProcessingRequest"),
    "an empty message": (message(b""), b"without%20headers"),
    "headers of 2 MiB": (message(gateway.headers(("x", "y" * (2 * MIB)))), b"larger%20than"),
    "half a million headers": (message(gateway.headers(*[("a", "")] * 500_000)), b"larger%20than"),
    "a body before headers": (message(gateway.body(b"x")), b"out%20of%20order"),
    "a response before its request": (response(b"x"), b"out%20of%20order"),
    "headers twice": (HEAD * 2, b"out%20of%20order"),
    "a body after its end": (HEAD + message(gateway.body(b"{}")) * 2, b"grpc-status"),
    "a stream that ends within a message": (HEAD[:-1], b"within%20a%20message"),
    "JSON nested a million deep": (HEAD + message(gateway.body(b"[" * 1_000_000)), b"payload_too_large"),
}


@pytest.mark.parametrize("name", ENDS)
async def test_what_is_no_exchange_ends_its_stream_and_says_why(attacked: Installed, name: str) -> None:
    sent, words = ENDS[name]
    async with attacked.during(least_seconds=0.3), connected(attacked.picker) as peer:
        peer.write(opened(1), pieces(1, sent), data(1, b"", ended=True))
        told = words if words in (b"grpc-status", b"payload_too_large") else words.replace(b"%20", b" ")
        heard = await peer.hear(told, seconds=5)
        assert told in heard or words in heard
        assert heard.goaway is None


async def test_streams_beyond_the_limit_are_refused_and_the_others_go_on(attacked: Installed) -> None:
    async with attacked.during(), connected(attacked.picker) as peer:
        peer.write(*map(opened, range(1, 3_001, 2)))
        await peer.hear(seconds=0.5)
        assert [code for _, code in peer.heard.resets] == [ErrorCodes.REFUSED_STREAM] * 500
        peer.write(data(1, message(gateway.headers(CHAT, end_of_stream=True))))
        assert b"x-gateway-destination-endpoint" in await peer.hear(b"x-gateway-destination-endpoint")


# What takes its time

_OPENED = GREETING + opened(1)
_BEGUN = GREETING + frame(Kind.HEADERS, 0, 1, PROCESS)
DRIPS: dict[str, tuple[bytes, int]] = {
    "a preface": (frames.PREFACE, 0),
    "the head of a frame": (GREETING + frame(Kind.PING, 0, 0, b"x" * 8), len(GREETING)),
    "a frame of data": (_OPENED + data(1, b"x" * 16_000), len(_OPENED)),
    "a header block": (_BEGUN + frame(Kind.CONTINUATION, 0, 1, b"\0" * 9) * 60, len(_BEGUN)),
}
"""What is sent a byte at a time, and how much of it at once."""


async def drip(port: int, sent: bytes, at_once: int) -> tuple[float, Peer]:
    """Send the rest of it byte by byte until the picker closes; how long that took."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    async with listening(port, greeting=sent[:at_once]) as peer:
        for place in range(at_once, len(sent)):
            if peer.heard.closed:
                break
            with contextlib.suppress(ConnectionError):
                peer.write(sent[place : place + 1])
            await asyncio.sleep(_DRIP_SECONDS if len(sent) - at_once > 100 else 10 * _DRIP_SECONDS)
        return loop.time() - start, peer


_DRIP_SECONDS = 0.08


async def test_no_byte_now_and_then_keeps_a_connection(attacked: Installed) -> None:
    async with attacked.during(), asyncio.TaskGroup() as group:
        drips = {
            name: group.create_task(drip(attacked.picker, sent, at_once)) for name, (sent, at_once) in DRIPS.items()
        }
    for name, task in drips.items():
        seconds, peer = task.result()
        assert peer.heard.closed, name
        assert 9 < seconds < 14, f"{name}: {seconds:.1f} s"
    assert attacked.metric('infscale_picker_limits_total{limit="unfinished_frame"}') >= 3
    assert attacked.metric('infscale_picker_limits_total{limit="silent_connection"}') >= 1


async def test_connections_that_say_nothing_keep_no_gateway_out(attacked: Installed) -> None:
    async with attacked.during(), contextlib.AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(connected(attacked.picker, greeting=b"")) for _ in range(300)]
        async with connected(attacked.picker) as peer:
            peer.write(opened(1), data(1, message(gateway.headers(CHAT, end_of_stream=True))))
            assert b"x-gateway-destination-endpoint" in await peer.hear(b"x-gateway-destination-endpoint")
        heard = [await peer.hear(seconds=0.002) for peer in silent]
        assert sum(each.closed for each in heard) >= 300 - 128


async def test_one_address_has_its_share_of_connections_and_idle_ones_go_first(attacked: Installed) -> None:
    async with attacked.during(), contextlib.AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(connected(attacked.picker)) for _ in range(400)]
        for peer in idle:
            await peer.hear(frames.SETTINGS_ACK, seconds=1)
        async with connected(attacked.picker) as peer:
            peer.write(opened(1), data(1, message(gateway.headers(CHAT, end_of_stream=True))))
            assert b"x-gateway-destination-endpoint" in await peer.hear(b"x-gateway-destination-endpoint")
        heard = [await peer.hear(seconds=0.002) for peer in idle]
        assert sum(each.closed for each in heard) >= 400 - 256
        assert next(peer for peer in idle if peer.heard.closed).heard.goaway is ErrorCodes.NO_ERROR


# Bodies


async def test_a_body_that_stops_is_answered_408(attacked: Installed) -> None:
    async with attacked.during(), connected(attacked.picker) as peer:
        peer.write(opened(1), data(1, HEAD + message(gateway.body(b"x" * 5_000, end_of_stream=False))))
        # A byte now and then is no progress.
        for _ in range(8):
            await asyncio.sleep(BODY_SECONDS / 8)
            peer.write(data(1, message(gateway.body(b"x", end_of_stream=False))))
        heard = await peer.hear(b"request_timeout", seconds=2 * BODY_SECONDS)
        assert b"request_timeout" in heard
    assert 'reason="body_timeout",status="408"} 1.0' in attacked.page()


def long_request(size: int) -> bytes:
    """A request with a body of `size` bytes."""
    content = b'{"model":"m","max_tokens":1,"prompt":"' + b"word " * (size // 5) + b'"}'
    return HEAD + message(gateway.body(content, end_of_stream=False)) + message(gateway.body(b""))


async def test_forty_bodies_of_thirty_megabytes(attacked: Installed) -> None:
    """1.2 GB at once: what finds no room waits for its turn, and for a while only."""
    request = long_request(30 * MIB)

    async def one() -> str:
        async with connected(attacked.picker) as peer:
            return await peer.send_within_windows(opened(1), request)

    async with attacked.during(), asyncio.TaskGroup() as group:
        tasks = [group.create_task(one()) for _ in range(40)]
    answers = [task.result() for task in tasks]
    assert set(answers) <= {"served", "503", "408"}
    assert answers.count("served") >= 1
    assert attacked.metric("infscale_picker_held_bytes") < MIB


async def test_bodies_that_stop_on_many_streams_are_bounded_together(attacked: Installed) -> None:
    """Each may be as long as its first window: 20 × 100 of them are more than all may hold."""
    async with attacked.during() as attack, contextlib.AsyncExitStack() as stack:
        for _ in range(20):
            peer = await stack.enter_async_context(listening(attacked.picker))
            for stream in range(1, 201, 2):
                sent = HEAD + b"\0" + (200_000).to_bytes(4, "big") + b"x" * 190_000
                peer.write(opened(stream), pieces(stream, sent))
                with contextlib.suppress(ConnectionError):
                    await peer.writer.drain()
    assert attack.peak_bytes > attack.before_bytes


async def test_answers_that_are_not_read_are_bounded_together(attacked: Installed) -> None:
    async def one() -> None:
        async with connected(attacked.picker, greeting=frames.PREFACE + windows(0) + frames.SETTINGS_ACK) as peer:
            await peer.send_within_windows(opened(1), request, answer=False)
            loop = asyncio.get_running_loop()
            stop = loop.time() + 3 * BODY_SECONDS
            while not peer.heard.resets and loop.time() < stop:
                await peer.hear(seconds=0.2)
            assert peer.heard.resets

    request = long_request(4 * MIB)
    async with attacked.during(), asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(one())
    assert attacked.metric('infscale_picker_limits_total{limit="unread_answers"}') >= 1


async def test_a_gateway_that_reads_nothing_is_let_go(attacked: Installed) -> None:
    """Not its windows are shut, but its socket is never read."""
    series = 'infscale_picker_limits_total{limit="unread_answers"}'
    before = attacked.metric(series)
    greeting = frames.PREFACE + windows(frames.MAX_WINDOW) + frames.window_update(0, 1 << 30) + frames.SETTINGS_ACK
    async with attacked.during(), connected(attacked.picker, greeting=greeting) as peer:
        await peer.send_within_windows(opened(1), long_request(24 * MIB), answer=False)
        await attacked.until(lambda: attacked.metric(series) > before)


async def test_handshakes_that_never_end_keep_no_gateway_out(tmp_path: Path) -> None:
    """Over TLS places are taken before the handshake: half-open ones go for those that come."""
    now = datetime.now(UTC)
    authority = Authority.made("gateways", now)
    pair = authority.server("picker", ("127.0.0.1",), now)
    (tmp_path / "tls.crt").write_bytes(pair.certificate)
    (tmp_path / "tls.key").write_bytes(pair.key)
    [port, telemetry] = free_ports(2)
    document = {
        "discovery": {"file": "discovery.yaml"},
        "picker": {"listen": f"127.0.0.1:{port}", "tls": {"certificate": "tls.crt", "key": "tls.key"}},
        "adapter": {"listen": "127.0.0.1:0"},
        "telemetry": {"listen": f"127.0.0.1:{telemetry}"},
    }
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(document))
    (tmp_path / "discovery.yaml").write_text("endpoints: []")
    context = ssl.create_default_context(cadata=authority.pem.decode())
    context.set_alpn_protocols(["h2"])
    command = ("infscale.cli.main", "serve", "--config", str(tmp_path / "serve.yaml"))
    with program(tmp_path, "serve", *command) as serve:
        await asyncio.to_thread(serve.wait_for, "infscale.serving.composition: serving")
        async with contextlib.AsyncExitStack() as stack:
            hello = b"\x16\x03\x01"
            half_open = [await stack.enter_async_context(connected(port, greeting=hello)) for _ in range(200)]
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            writer.write(GREETING)
            assert await reader.readexactly(frames.HEADER_BYTES)
            writer.transport.abort()
            heard = [await peer.hear(seconds=0.002) for peer in half_open[:72]]
            assert sum(each.closed for each in heard) >= 70
            serve.process.terminate()
            assert await asyncio.to_thread(serve.process.wait, 5) == 0
