"""Hostile HTTP clients, through a real Envoy to a real `infscale serve`: their answers, and that others live on.

Whatever is sent, the law of `Installed.during` holds for the others meanwhile; behind each input the books are at 0.
"""

import asyncio
import contextlib
import gzip
import io
import itertools
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from dataclasses import dataclass

import aiohttp
import orjson
import pytest
import pytest_asyncio

from infscale.demo.child_processes import free_ports
from infscale.envoy.config import Address, PickerRoute
from infscale.envoy.process import running_envoy
from tests.hostile.harness import LATENCY_SECONDS, Attack, Installed, installed

pytestmark = [
    pytest.mark.hostile,
    pytest.mark.envoy,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(60),
]

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
GOOD = {"model": "m", "prompt": "x", "max_tokens": 1}
JSON: Mapping[str, str] = {"content-type": "application/json"}
ANSWERED = frozenset({200, 400, 404, 413, 415, 422, 429, 503})
"""What is an answer: neither Envoy's 500, for a picker that failed, nor its 504, for one that said nothing."""
SECONDS = 20.0


@dataclass(frozen=True)
class Front:
    """An Envoy in front of what is installed; the second port shows answers to the picker."""

    installed: Installed
    session: aiohttp.ClientSession
    port: int
    full: int

    def url(self, path: str, *, full: bool = False) -> str:
        return f"http://127.0.0.1:{self.full if full else self.port}{path}"

    async def ask(
        self, body: object, path: str = COMPLETIONS, headers: Mapping[str, str] = JSON, *, full: bool = False
    ) -> int:
        """The status that a body is answered with; what is no bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        sent = {**JSON, **headers}
        async with self.session.post(self.url(path, full=full), data=io.BytesIO(content), headers=sent) as answer:
            await answer.read()
            return answer.status

    async def raw(self, *parts: bytes, pause_seconds: float = 0.0, wait_seconds: float = 2.0) -> bytes:
        """What comes back on a connection on which `parts` were written; it is cut when nothing more comes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        heard = b""
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause_seconds)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_seconds):
                    heard = await reader.read(1 << 16)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
        return heard

    @contextlib.asynccontextmanager
    async def attack(
        self, latency_seconds: float = LATENCY_SECONDS, least_seconds: float = 0.5
    ) -> AsyncGenerator[Attack]:
        """As `Installed.during`; then the books come to 0 and a good request is served."""
        async with self.installed.during(latency_seconds, least_seconds=least_seconds) as attack:
            yield attack
        await self.installed.until(lambda: not sum(self.in_flight()))
        assert await self.ask(GOOD) == 200

    def in_flight(self) -> list[float]:
        found = re.findall(r"^infscale_endpoint_in_flight_requests\{.*\} (\S+)$", self.installed.page(), re.MULTILINE)
        return [float(each) for each in found]

    def refused(self, reason: str, status: int) -> float:
        """How many were refused for this so far."""
        return self.installed.metric(
            f'infscale_picker_rejections_total{{pool="default/default",reason="{reason}",status="{status}"}}'
        )


@pytest_asyncio.fixture(name="front", scope="module", loop_scope="module")
async def _front(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Front, None]:
    folder = tmp_path_factory.mktemp("clients")
    with installed(folder, telemetry={"reference_names": True}) as made:
        admin, listen, full = (Address("127.0.0.1", port) for port in free_ports(3))
        servers = tuple(Address(each["address"], int(each["port"])) for each in made.endpoints)
        picker = Address("127.0.0.1", made.picker)
        routes = [PickerRoute(listen, picker, servers, False), PickerRoute(full, picker, servers, True)]
        connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=SECONDS)
        async with (
            running_envoy(admin, routes),
            aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session,
        ):
            yield Front(made, session, listen.port, full.port)


def head(*lines: str, path: str = COMPLETIONS) -> bytes:
    """The head of a request."""
    return "\r\n".join([f"POST {path} HTTP/1.1", "host: x", *lines, "", ""]).encode()


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def status_of(heard: bytes) -> int:
    return int(heard.split(b" ", 2)[1])


INVALID_JSON = {
    "not JSON": b"no healthy upstream",
    "nested a hundred thousand deep": b'{"model":"m","prompt":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "never closed": b'{"a":' * 50_000,
    "not an object": b"[]" * 3,
    "bad UTF-8": b'{"model":"m","prompt":"\xff\xfe\xc0"}',
    "a lone surrogate": b'{"model":"m","prompt":"\\ud800"}',
    "a surrogate as bytes": b'{"model":"m","prompt":"\xed\xa0\x80"}',
    "a number without end": b'{"model":"m","prompt":"x","max_tokens":' + b"9" * 100_000 + b"e",
    "NaN": b'{"model":"m","prompt":"x","max_tokens":NaN}',
    "cut": orjson.dumps(GOOD)[:-1],
    "zeros": bytes(1_000_000),
}


async def test_what_is_no_json_is_refused_and_counted(front: Front) -> None:
    before = await asyncio.to_thread(front.refused, "invalid_json", 400)
    async with front.attack(least_seconds=1.5):
        answers = {name: await front.ask(body) for name, body in INVALID_JSON.items()}
        many = await asyncio.gather(*(front.ask(body) for body in INVALID_JSON.values()))
    assert answers == dict.fromkeys(INVALID_JSON, 400)
    assert set(many) == {400}
    after = await asyncio.to_thread(front.refused, "invalid_json", 400)
    assert after - before == len(INVALID_JSON) * 2


async def test_missing_fields_are_refused_and_counted(front: Front) -> None:
    bodies = [{"model": "m"}, {"model": "m", "messages": []}, {"model": "m", "messages": "x"}, {"model": 1}]
    before = await asyncio.to_thread(front.refused, "invalid_request", 400)
    async with front.attack():
        assert [await front.ask(body, CHAT) for body in bodies] == [400] * len(bodies)
    assert await asyncio.to_thread(front.refused, "invalid_request", 400) - before == len(bodies)


async def test_duplicate_keys_are_one_request(front: Front) -> None:
    """The last one counts, for the picker as for what reads it behind."""
    body = b'{"model":"other","model":"m","prompt":"x","prompt":"y","max_tokens":1' + b',"a":1' * 100_000 + b"}"
    async with front.attack():
        assert await front.ask(body) == 200


ODD_NUMBERS: dict[str, object] = {
    "negative": -1,
    "zero": 0,
    "more than 64 bits": 10**19,
    "huge": 1e308,
    "a fraction": 0.5,
    "text": "100",
    "a list": [1] * 1000,
    "an object": {"a": 1},
    "true": True,
}
FIELDS = ("max_tokens", "n", "best_of", "stream_options", "seed", "logprobs")


async def test_odd_numbers_are_left_to_the_engine(front: Front) -> None:
    """A limit that cannot be counted with is none; none of them leaves anything in the books."""
    async with front.attack():
        for (name, value), field in itertools.product(ODD_NUMBERS.items(), FIELDS):
            body = orjson.dumps(GOOD | {field: None if value == 10**19 else value})
            body = body.replace(b"null", b"10000000000000000000")
            assert await front.ask(body) in {200, 400, 422}, f"{field}: {name}"
        assert await front.ask(b'{"model":"m","prompt":"x","max_tokens":1e999}') in {200, 400}
        assert await front.ask(b'{"model":"m","prompt":"x","max_tokens":' + b"9" * 5000 + b"}") in {200, 400}


async def test_streams_with_odd_options_are_answered(front: Front) -> None:
    async with front.attack():
        for options in (None, [], "x", {"include_usage": "yes"}, {"include_usage": True, "x": ["y"] * 1000}):
            body = GOOD | {"stream": True, "stream_options": options}
            for full in (False, True):
                assert await front.ask(body, full=full) in {200, 400, 422}


async def test_bodies_of_30_mb_at_once_stay_within_memory(front: Front) -> None:
    body = orjson.dumps(GOOD | {"prompt": "a b c " * 5_000_000})
    async with front.attack():
        answers = await asyncio.gather(*(front.ask(body) for _ in range(3)))
    assert set(answers) <= ANSWERED, answers


# Thirty megabytes of these take a decoder seconds, or a gigabyte.
SLOW_VALUES = {
    "empty lists": b"[],",
    "lists": b"[1],",
    "objects": b'{"a":1},',
    "texts": b'"ab",',
    "token ids": b"12345,",
    "zeros": b"0,",
    "escaped quotes": b'"\\"\\"\\"",',
    "models": b'{"model":"m"},',
}


@pytest.mark.parametrize("unit", SLOW_VALUES.values(), ids=SLOW_VALUES.keys())
async def test_bodies_that_are_slow_to_decode_keep_no_one_waiting(front: Front, unit: bytes) -> None:
    count = (30 << 20) // len(unit)
    body = b'{"model":"m","max_tokens":1,"prompt":[' + unit * count + unit[:-1] + b"]}"
    encoded = gzip.compress(body, 1)
    async with front.attack():
        answers = [await front.ask(body), await front.ask(encoded, headers={"content-encoding": "gzip"})]
        answers += await asyncio.gather(*(front.ask(body[: 1 << 20] + unit[:-1] + b"]}") for _ in range(8)))
    assert set(answers) <= ANSWERED, answers


async def test_an_announced_body_that_is_too_large_is_refused_before_it_comes(front: Front) -> None:
    async with front.attack():
        heard = await front.raw(head("content-length: 999999999999"))
    assert status_of(heard) == 413


async def test_bombs_of_compressed_bodies_are_bounded(front: Front) -> None:
    bomb = gzip.compress(bytes(200 << 20), 9)
    nested = gzip.compress(bomb, 9)
    async with front.attack(least_seconds=1.5):
        answers = [await front.ask(bomb, headers={"content-encoding": "gzip"}) for _ in range(4)]
        assert set(answers) <= {400, 413, 415, 503}
        for encoding in ("gzip", "deflate", "zstd", "gzip, gzip", "br", "x", "gzip" * 1000):
            assert await front.ask(nested, headers={"content-encoding": encoding}) in {400, 413, 415, 503}, encoding
        assert await front.ask(b"\x1f\x8b", headers={"content-encoding": "gzip"}) in {400, 415}


NAMES = ("m" * 1_000_000, "\x00\x01\x7f", "\u202e\u2028", "m\n", '"}{', "../../m", "m" + "\u0301" * 10_000, " m ", "M")


async def test_odd_model_names_reach_no_one_else_s(front: Front) -> None:
    async with front.attack():
        for name in NAMES:
            assert await front.ask(GOOD | {"model": name}) in {400, 404}, name[:20]
            assert await front.ask(GOOD | {"model": name}, full=True) in {400, 404}, name[:20]
    assert "MMMM" not in await asyncio.to_thread(front.installed.page)


async def flood(front: Front, requests: Iterable[bytes], connections: int = 8) -> list[int]:
    """The statuses of `requests`, some connections at work on them."""
    waiting = iter(requests)
    found: list[int] = []

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        try:
            for request in waiting:
                writer.write(request)
                said = await reader.readuntil(b"\r\n\r\n")
                found.append(status_of(said))
                if (length := re.search(rb"content-length: (\d+)", said)) is not None:
                    await reader.readexactly(int(length[1]))
                else:
                    await reader.readuntil(b"0\r\n\r\n")
        finally:
            writer.close()
            await writer.wait_closed()

    await asyncio.gather(*(work() for _ in range(connections)))
    return found


def invented(count: int) -> Iterable[bytes]:
    """Requests each for a model, a path, an objective and a payer of its own."""
    for number in range(count):
        body = orjson.dumps(GOOD | {"model": f"invented-{number}", "prompt": f"{number} " * 8})
        lines = (
            f"content-length: {len(body)}",
            f"x-llm-d-inference-fairness-id: payer-{number}",
            f"x-llm-d-inference-objective: objective-{number}",
            f"x-request-id: {number}",
        )
        yield head(*lines, path=f"/tenant-{number}{COMPLETIONS}") + body


@pytest.mark.timeout(180)
async def test_ten_thousand_names_make_no_more_series_than_some(front: Front) -> None:
    """Models, paths, objectives and fairness ids that clients invent: neither the page nor memory grows with them."""
    lines = [len((await asyncio.to_thread(front.installed.page)).splitlines())]
    async with front.attack():
        first = await flood(front, itertools.islice(invented(10_000), 1_000))
        lines.append(len((await asyncio.to_thread(front.installed.page)).splitlines()))
        rest = await flood(front, itertools.islice(invented(10_000), 1_000, None))
        lines.append(len((await asyncio.to_thread(front.installed.page)).splitlines()))
    assert len(first) + len(rest) == 10_000
    assert set(first) | set(rest) <= {404, 429}
    assert lines[1] - lines[0] < 20_000
    assert lines[2] - lines[1] < 200, lines


async def test_floods_of_headers_are_bounded(front: Front) -> None:
    async with front.attack():
        few = {f"x-{number}": "y" * 500 for number in range(80)}
        assert await front.ask(GOOD, headers=few) == 200
        assert await front.ask(GOOD, headers={"x-long": "y" * 8_000}) == 200
        assert await front.ask(GOOD, headers={"x-odd": "\x80\xff\xfe"}) in {200, 400}
        many = [f"x-{number}: y" for number in range(2_000)]
        for lines in (many, ["x-long: " + "y" * 200_000]):
            heard = await front.raw(head(*lines, "content-length: 0"))
            assert not heard or status_of(heard) == 431


async def test_headers_of_the_protocol_reach_nothing(front: Front) -> None:
    """A client that names a destination, a pool, a model or the endpoint that answered is served as any other."""
    spoofed = {
        "x-gateway-destination-endpoint": "127.0.0.1:1",
        "x-gateway-destination-endpoint-subset": "127.0.0.1:1",
        "x-gateway-destination-endpoint-served": "127.0.0.1:1",
        "x-llm-d-inference-pool": "other/pool",
        "x-llm-d-model-name-rewrite": "other",
        "x-gateway-model-name-rewrite": "other",
        "x-original-path": "/v1/nothing",
        "test-epp-endpoint-selection": "127.0.0.1",
    }
    async with front.attack():
        for name, value in spoofed.items():
            assert await front.ask(GOOD, headers={name: value}) == 200, name
        assert await front.ask(GOOD, headers=spoofed) == 200


async def test_upgrades_are_answered(front: Front) -> None:
    upgrade = ("connection: upgrade", "sec-websocket-version: 13", "sec-websocket-key: eA==")
    async with front.attack():
        for protocol in ("websocket", "h2c", "TLS/1.0", "x" * 1000):
            heard = await front.raw(head(*upgrade, f"upgrade: {protocol}", "content-length: 0"))
            assert status_of(heard) in {200, 400, 403, 404, 426, 501}, protocol


async def test_bodies_that_come_slowly_hold_up_no_one(front: Front) -> None:
    body = orjson.dumps(GOOD)
    async with front.attack():

        async def slow() -> int:
            pieces = [body[place : place + 4] for place in range(0, len(body), 4)]
            heard = await front.raw(head(f"content-length: {len(body)}"), *pieces, pause_seconds=0.1)
            return status_of(heard)

        async def never() -> bytes:
            return await front.raw(head("content-length: 1000"), b"{", pause_seconds=1.0, wait_seconds=0.1)

        answers, _ = await asyncio.gather(
            asyncio.gather(*(slow() for _ in range(20))), asyncio.gather(*(never() for _ in range(20)))
        )
    assert answers == [200] * 20


async def test_aborts_in_every_phase_leave_nothing(front: Front) -> None:
    body = orjson.dumps(GOOD | {"max_tokens": 500, "stream": True})
    whole = head(f"content-length: {len(body)}") + body
    places = [1, 10, len(whole) - len(body) - 2, len(whole) - len(body), len(whole) - 5, len(whole)]

    async def abort(place: int, wait_for: bytes, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(whole[:place])
        await writer.drain()
        if wait_for:
            await reader.readuntil(wait_for)
        writer.transport.abort()

    async with front.attack(least_seconds=1.5):
        for port in (front.port, front.full):
            await asyncio.gather(*(abort(place, b"", port) for place in places for _ in range(10)))
            await asyncio.gather(*(abort(len(whole), b"\r\n\r\n", port) for _ in range(10)))
            await asyncio.gather(*(abort(len(whole), b"data:", port) for _ in range(10)))


CONTENT_TYPES = (
    "text/plain",
    "multipart/form-data",
    "application/xml",
    "",
    "a/b; c=" + "d" * 5_000,
    "*/*,x",
)


async def test_the_content_type_is_not_what_decides(front: Front) -> None:
    async with front.attack():
        for kind in CONTENT_TYPES:
            assert await front.ask(GOOD, headers={"content-type": kind}) in {200, 400, 415}, kind[:30]


async def test_forms_of_many_parts_pass_on_unread(front: Front) -> None:
    boundary = "b" * 70
    part = f'--{boundary}\r\ncontent-disposition: form-data; name="x"\r\n\r\ny\r\n'.encode()
    form = part * 20_000 + f"--{boundary}--\r\n".encode()
    kind = f"multipart/form-data; boundary={boundary}"
    async with front.attack():
        for path in ("/v1/audio/transcriptions", COMPLETIONS):
            assert await front.ask(form, path, {"content-type": kind}) in ANSWERED


async def test_floods_of_chunks_are_one_body(front: Front) -> None:
    body = orjson.dumps(GOOD | {"prompt": "x" * 8_000})

    async def pieces() -> AsyncIterator[bytes]:
        for place in range(len(body)):
            yield body[place : place + 1]

    async with front.attack():

        async def ask() -> int:
            async with front.session.post(front.url(COMPLETIONS), data=pieces()) as answer:
                await answer.read()
                return answer.status

        answers = await asyncio.gather(*(ask() for _ in range(3)))
        written = b"".join(chunk(body[place : place + 1]) for place in range(len(body)))
        heard = await front.raw(head("transfer-encoding: chunked"), written + b"0\r\n\r\n")
        assert status_of(heard) == 200
    assert answers == [200] * 3


async def test_trailers_end_a_request_too(front: Front) -> None:
    body = orjson.dumps(GOOD)
    trailers = b"".join(b"x-%d: y\r\n" % number for number in range(50))
    async with front.attack():
        for end in (b"0\r\nx-checksum: 1\r\n\r\n", b"0\r\n" + trailers + b"\r\n"):
            heard = await front.raw(head("transfer-encoding: chunked") + chunk(body) + end)
            assert status_of(heard) in {200, 400, 431}


MALFORMED = {
    "two lengths": head("content-length: 5", "content-length: 6") + b"hello!",
    "length and chunks": head("content-length: 5", "transfer-encoding: chunked") + b"0\r\n\r\n",
    "a negative length": head("content-length: -1"),
    "a length that is not a number": head("content-length: x"),
    "a chunk whose size is not a number": head("transfer-encoding: chunked") + b"zz\r\n",
    "a chunk of 2^64 - 1 bytes": head("transfer-encoding: chunked") + b"ffffffffffffffff\r\n",
    "bytes that are not a request": b"\x00" * 1_000,
    "a line without end": b"POST /" + b"x" * 100_000,
    "a name with a space": head("a b: c", "content-length: 0"),
}


async def test_what_is_no_http_gets_no_further_than_the_gateway(front: Front) -> None:
    async with front.attack():
        answers = await asyncio.gather(*map(front.raw, MALFORMED.values()))
    for name, heard in zip(MALFORMED, answers, strict=True):
        assert not heard or status_of(heard) in {400, 413, 414, 431}, f"{name}: {heard[:60]!r}"


async def test_paths_of_any_form_are_answered(front: Front) -> None:
    paths = (
        "/",
        "//",
        "/%00",
        "/v1/completions/",
        "/v1/completions?" + "a" * 5_000,
        "/../../etc",
        "/\xff",
        "/v1/" * 500,
    )
    async with front.attack():
        for path in paths:
            heard = await front.raw(head("content-length: 29", path=path) + orjson.dumps(GOOD)[:29])
            assert not heard or status_of(heard) in {200, 400, 404, 405, 431}, path[:30]
