"""Hostile users of the metrics API: what they are answered, and that neither the picker nor other users feel them."""

import asyncio
import gzip
import shutil
import ssl
import warnings

import pytest

from adapter.server.connections import ConnectionLimits
from tests.hostile.api import G2, WAITING, blind, get, served, user, users
from tests.hostile.harness import Installed

pytestmark = [pytest.mark.hostile, pytest.mark.timeout(60)]

LIMITS = ConnectionLimits()
TLS_HELLO = bytes.fromhex("1603010200010001fc0303") + bytes(500)
"""How a client's first message begins; what follows is not needed to keep a server waiting."""
POD = f"{G2}/namespaces/default/pods"


def closes(installed: Installed, cause: str) -> float:
    return installed.metric(f'infscale_adapter_connections_closed_total{{cause="{cause}"}}')


def request(head: str, body: bytes = b"") -> bytes:
    return head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n" + body


LONG = "a" * 15_000
# What one connection sends, by kind, and the status of the answer.
SAID: dict[str, dict[str, tuple[bytes, int]]] = {
    "queries": {
        "a hundred thousand query keys": (get(f"{WAITING}?" + "&".join(f"k{each}=v" for each in range(100_000))), 400),
        "more parameters than are read": (get(f"{WAITING}?" + "&".join(f"k{each}=v" for each in range(2_000))), 400),
        "a selector of 3,000 values": (get(f"{WAITING}?labelSelector=a%20in%20({','.join(['v'] * 3_000)})"), 400),
        "a selector of 2,000 requirements": (get(f"{WAITING}?labelSelector=" + ",".join(["!a"] * 2_000)), 400),
        "a selector of 500 values": (get(f"{WAITING}?labelSelector=a%20in%20({','.join(['v'] * 500)})"), 404),
        "a selector nested deeply": (get(f"{WAITING}?labelSelector=a%20in%20" + "(" * 12_000), 400),
        "a selector without an end": (get(f"{WAITING}?labelSelector=a%20in%20(" + "b," * 6_000), 400),
        "a selector that is not text": (get(f"{WAITING}?labelSelector=%FF%00%0A%E2%80%AE"), 400),
    },
    "paths": {
        "a NUL in the path": (get(f"{POD}/%00/waiting_requests"), 404),
        "an encoded slash": (get(f"{POD}/a%2F..%2F..%2Fb/waiting_requests"), 404),
        "a path of dots": (get(f"{POD}/../../../../etc/passwd"), 404),
        "a path of 30,000 letters": (get(f"{POD}/{'a' * 30_000}/waiting_requests"), 404),
        "10,000 segments": (get("/apis" + "/a" * 10_000), 404),
    },
    "identities": {
        "a forged user": (get(WAITING, "X-Remote-User: system:admin", "X-Remote-Group: system:masters"), 200),
        "a token of 15,000 letters": (get(WAITING, f"Authorization: Bearer {LONG}"), 200),
    },
    "bodies": {
        "a body on GET": (get("/livez", "Content-Length: 900000") + b"x" * 900_000, 200),
        "a body of a terabyte": (get("/livez", "Content-Length: 1099511627776") + b"x" * 60_000, 200),
        "a negative length": (get("/livez", "Content-Length: -1"), 400),
        "two lengths": (get("/livez", "Content-Length: 5", "Content-Length: 6") + b"hello", 400),
        "a length and chunks": (get("/livez", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
        "a chunk of 2^64 - 1 bytes": (get("/livez", "Transfer-Encoding: chunked") + b"ffffffffffffffff\r\nx", 200),
        "a chunk whose size is not a number": (get("/livez", "Transfer-Encoding: chunked") + b"xyz\r\n", 400),
        "chunks twice": (get("/livez", "Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n", 400),
        "a body that unpacks to 100 MB": (
            get("/livez", "Content-Encoding: gzip", "Content-Length: 97000")
            + gzip.compress(bytes(100_000_000))[:97_000],
            200,
        ),
    },
    "protocols": {
        "HTTP/2's preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), 400),
        "an upgrade to h2c": (
            get(WAITING, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMA"),
            200,
        ),
        "an upgrade to WebSocket": (get("/livez", "Connection: Upgrade", "Upgrade: websocket") + bytes(50_000), 200),
        "CONNECT": (request("CONNECT internal:443 HTTP/1.1\nHost: a"), 404),
        "TRACE": (request("TRACE /apis HTTP/1.1\nHost: a"), 405),
        "a method of 10,000 letters": (request("A" * 10_000 + " / HTTP/1.1\nHost: a"), 400),
        "a proxy's request": (request("GET http://other.example/apis HTTP/1.1\nHost: a"), 200),
    },
    "heads": {
        "a header with a NUL": (request("GET /apis HTTP/1.1\nHost: a\nX-A: b\0c"), 400),
        "a header that goes on in the next line": (request("GET /apis HTTP/1.1\nHost: a\nX-A: b\n c"), 400),
        "a header without a name": (request("GET /apis HTTP/1.1\nHost: a\n: b"), 400),
        "an unknown HTTP version": (request("GET /apis HTTP/9.9\nHost: a"), 400),
        "2,500 headers": (get("/livez", *(f"X-{each}: a" for each in range(2_500))), 400),
        "a header of 17,000 letters": (get("/livez", "X-A: " + "a" * 17_000), 400),
        "2 MB of headers": (get("/livez", *("X-A: " + "a" * 8_000 for _ in range(250))), 431),
    },
    "what is taken": {
        "an Accept of 2,000 kinds": (get(WAITING, "Accept: " + ",".join(["a/b;q=0.1"] * 1_500)), 406),
        "an Accept of 1,500 parameters": (get(WAITING, "Accept: application/json" + ";a=b" * 3_000), 406),
        "1,000 headers of Accept": (get(WAITING, *["Accept: application/json;q=0.5"] * 1_000), 200),
        "an If-None-Match of 3,000 tags": (get("/apis", "If-None-Match: " + ",".join(['"a"'] * 3_500)), 200),
    },
}


@pytest.mark.parametrize("kind", SAID)
async def test_whatever_one_connection_says_has_its_answer(attacked: Installed, kind: str) -> None:
    """Each input of the kind twice; an answer that needs no body does not wait for it."""

    async def said(sent: bytes) -> int | None:
        async with user(attacked.adapter) as one:
            await one.send(sent)
            return await one.answer()

    async with attacked.during():
        for name, (sent, expected) in SAID[kind].items():
            assert [await said(sent), await said(sent)] == [expected, expected], name
        assert await served(attacked.adapter) == 200


async def test_unfinished_heads_hold_a_bounded_memory(attacked: Installed) -> None:
    """40 connections with half a mebibyte each, none of which ends its head."""
    before = closes(attacked, "unread_limit")
    async with attacked.during(), users(attacked.adapter, 40) as crowd:
        for one in crowd:
            await one.send(b"GET /livez HTTP/1.1\r\n", (b"X-Filler: " + b"a" * 8_000 + b"\r\n") * 64)
        assert await served(attacked.adapter) == 200
        await attacked.until(lambda: closes(attacked, "unread_limit") >= before + 30)


async def test_headers_without_an_end_are_cut_off(attacked: Installed) -> None:
    async with attacked.during(), user(attacked.adapter) as one:
        await one.send(b"GET /livez HTTP/1.1\r\n")
        written = await one.flood((b"X-Filler: " + b"a" * 8_000 + b"\r\n") * 8, 5.0)
        assert written < 64 * LIMITS.unread_bytes
        assert await one.closed()


async def test_many_heads_that_drip_let_others_through(attacked: Installed) -> None:
    async with attacked.during(), users(attacked.adapter, 100) as crowd:
        for letter in b"GET /livez HTTP/1.1":
            for one in crowd:
                await one.send(bytes([letter]))
            await asyncio.sleep(0.02)
        assert await served(attacked.adapter) == 200


async def test_a_body_without_an_end_ends_with_its_connection(attacked: Installed) -> None:
    async with attacked.during(), user(attacked.adapter) as one:
        await one.send(get("/livez", "Transfer-Encoding: chunked"))
        assert await one.answer() == 200
        # What is written and not read is the kernel's.
        written = await one.flood(b"8000\r\n" + bytes(0x8000) + b"\r\n", 5.0)
        assert written < 64 * LIMITS.unread_bytes
        assert await one.closed()


async def test_requests_sent_ahead_are_answered_in_turn_and_not_hoarded(attacked: Installed) -> None:
    """Others wait for none of 20,000 that one connection has sent before it reads an answer."""
    async with attacked.during(), user(attacked.adapter) as one:
        sending = asyncio.get_running_loop().create_task(one.send(get("/livez") * 20_000))
        for _ in range(10):
            assert await served(attacked.adapter) == 200
        assert await one.answer() == 200
        sending.cancel()


async def test_answers_that_nobody_reads_hold_a_bounded_memory(attacked: Installed) -> None:
    def answered() -> float:
        return attacked.metric('infscale_adapter_requests_total{kind="discovery",status="200"}')

    before = await asyncio.to_thread(answered)
    async with attacked.during(), users(attacked.adapter, 40) as crowd:
        for one in crowd:
            with_many = get("/openapi/v2") * 400
            one.writer.write(with_many)
        await attacked.until(lambda: answered() >= before + len(crowd))
        assert await served(attacked.adapter) == 200


async def test_answers_read_a_byte_at_a_time_keep_nobody_waiting(attacked: Installed) -> None:
    async with attacked.during(), users(attacked.adapter, 20) as crowd:
        for one in crowd:
            await one.send(get("/openapi/v2") * 50)
        for _ in range(20):
            for one in crowd:
                assert await one.reader.read(1)
        assert await served(attacked.adapter) == 200


@pytest.mark.parametrize(
    "said", [b"", TLS_HELLO[:60], b"GET / HTTP/1.1\r\n\r\n", bytes(1_000)], ids=["silent", "half", "no TLS", "zeros"]
)
async def test_connections_without_a_handshake_leave_room(attacked: Installed, said: bytes) -> None:
    """More of them than the adapter keeps."""
    before = closes(attacked, "connection_limit")
    async with attacked.during(), users(attacked.adapter, 300, context=None) as crowd:
        for one in crowd:
            await one.send(said)
        for _ in range(3):
            assert await served(attacked.adapter) == 200
    if not said or said == TLS_HELLO[:60]:
        assert closes(attacked, "connection_limit") >= before + 300 - LIMITS.unproven


async def test_many_idle_connections_leave_room(attacked: Installed) -> None:
    before = closes(attacked, "connection_limit")
    async with attacked.during(), users(attacked.adapter, 160) as crowd:
        for one in crowd:
            await one.send(get("/livez"))
        for _ in range(5):
            assert await served(attacked.adapter) == 200
    assert closes(attacked, "connection_limit") >= before + 160 - LIMITS.unproven


async def test_connections_that_come_and_go_at_once_leave_nothing(attacked: Installed) -> None:
    async with attacked.during():
        for _ in range(60):
            async with user(attacked.adapter) as one:
                one.writer.write(get(WAITING))
        for _ in range(100):
            async with user(attacked.adapter, context=None):
                pass
        assert await served(attacked.adapter) == 200
    await attacked.until(lambda: attacked.metric('infscale_adapter_connections{state="unproven"}') == 0)


async def test_nobody_shakes_hands_again_and_again_on_one_connection(attacked: Installed) -> None:
    """A renegotiation of TLS 1.2 is refused; OpenSSL's own client asks for it with the line R."""
    command = ("openssl", "s_client", "-connect", f"127.0.0.1:{attacked.adapter}", "-tls1_2")
    if shutil.which(command[0]) is None:
        pytest.skip("there is no openssl")
    async with attacked.during():
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate(b"R\n")
        assert b"RENEGOTIATING" in said
        assert b"no renegotiation" in said
        assert await served(attacked.adapter) == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_only_tls_of_today_is_spoken(attacked: Installed, version: ssl.TLSVersion) -> None:
    context = blind()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with attacked.during(least_seconds=0.3):
        if version is ssl.TLSVersion.TLSv1_1:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                async with user(attacked.adapter, context):
                    pass
            return
        async with user(attacked.adapter, context) as one:
            assert one.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            await one.send(get(WAITING))
            assert await one.answer() == 200


def test_what_limits_did_is_said_once_a_cause(attacked: Installed) -> None:
    """The whole module's attacks are within a minute: each cause has a line or two, however often it acted."""
    said = [line for line in attacked.serve.said().splitlines() if "connections are closed" in line]
    assert 0 < len(said) <= 14
    assert closes(attacked, "connection_limit") > 100
    assert not any(secret in attacked.serve.said() for secret in ("X-Filler", "system:masters", "Bearer"))
