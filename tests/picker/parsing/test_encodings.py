"""Encoded request bodies: decoded for scheduling, passed on as they came, and never longer than there is room for."""

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Callable

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from picker.errors import RequestError
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.ext_proc.messages import BodyReply, HeadersReply, ImmediateReply, Incoming, RequestBody, Send
from picker.parsing.encodings import decoding
from tests.fakes.director import FakeDirector
from tests.picker.ext_proc.test_exchange import post

LIMIT = 32 << 20
BODY = b'{"model": "m", "prompt": "hello there"}'

Encode = Callable[[bytes], bytes]


def decoded(body: bytes, name: str, limit: int) -> bytes | None:
    """`body` without its encodings; None: it has none."""
    found = decoding(body, name, limit)
    if found is None:
        return None
    for _ in found.steps():
        pass
    return found.content


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(body) + stream.flush()


def frames(body: bytes) -> bytes:
    """Several zstd frames, one after another."""
    half = len(body) // 2
    return zstandard.compress(body[:half]) + zstandard.compress(body[half:])


def streamed(body: bytes) -> bytes:
    """A zstd frame that does not say how long its content is."""
    stream = zstandard.ZstdCompressor().compressobj()
    return stream.compress(body) + stream.flush()


ENCODINGS: list[tuple[str, Encode]] = [
    ("gzip", gzip.compress),
    ("GZip", gzip.compress),
    ("x-gzip", gzip.compress),
    (" gzip ", gzip.compress),
    ("gzip", lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])),
    ("gzip", lambda body: gzip.compress(body) + bytes(7)),
    ("deflate", zlib.compress),
    ("deflate", raw_deflate),
    ("zstd", zstandard.compress),
    ("zstd", frames),
    ("zstd", streamed),
    ("identity", bytes),
    ("", bytes),
    ("identity, gzip", gzip.compress),
    ("gzip,,identity", gzip.compress),
    ("gzip, zstd", lambda body: zstandard.compress(gzip.compress(body))),
    ("deflate, gzip", lambda body: gzip.compress(zlib.compress(body))),
]


@pytest.mark.parametrize(("name", "encode"), ENCODINGS, ids=[name or "empty" for name, _ in ENCODINGS])
def test_what_was_encoded_is_read(name: str, encode: Encode) -> None:
    found = decoded(encode(BODY), name, LIMIT)
    assert (BODY if found is None else found) == BODY


@given(st.binary(max_size=5000), st.sampled_from(ENCODINGS))
def test_every_content_survives(body: bytes, encoding: tuple[str, Encode]) -> None:
    name, encode = encoding
    found = decoded(encode(body), name, LIMIT)
    assert (body if found is None else found) == body


@given(st.binary(max_size=500))
def test_a_bare_stream_survives(body: bytes) -> None:
    name, encode = "deflate", raw_deflate
    assert decoded(encode(body), name, LIMIT) == body


def refused(body: bytes, name: str, limit: int = LIMIT) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        decoded(body, name, limit)
    rejection = caught.value.rejection
    return rejection.status, rejection.message


@pytest.mark.parametrize("name", ["br", "compress", "gzip, br", "secret-name", "gzip;q=1", "*", "aws-chunked"])
def test_an_encoding_that_is_not_read_is_named_by_its_header(name: str) -> None:
    assert refused(BODY, name) == (415, "content-encoding: only gzip, deflate and zstd are read")


def test_a_body_is_encoded_at_most_twice() -> None:
    assert refused(BODY, "gzip, gzip, gzip") == (415, "content-encoding: the body is encoded more than twice")


@pytest.mark.parametrize(
    ("name", "body"),
    [
        pytest.param("gzip", BODY, id="plain as gzip"),
        pytest.param("gzip", b"", id="nothing as gzip"),
        pytest.param("gzip", gzip.compress(BODY)[:-4], id="gzip that ends early"),
        pytest.param("gzip", gzip.compress(BODY)[:-8] + bytes(8), id="gzip with a wrong checksum"),
        pytest.param("gzip", gzip.compress(BODY) + b"rest", id="gzip with something behind it"),
        pytest.param("gzip", gzip.compress(b"") * 100_000, id="members without end"),
        pytest.param("deflate", BODY, id="plain as deflate"),
        pytest.param("deflate", zlib.compress(BODY)[:-5], id="deflate that ends early"),
        pytest.param("zstd", BODY, id="plain as zstd"),
        pytest.param("zstd", gzip.compress(BODY), id="gzip as zstd"),
        pytest.param("gzip", zstandard.compress(BODY), id="zstd as gzip"),
        pytest.param("gzip, zstd", zstandard.compress(BODY), id="one layer too few"),
    ],
)
def test_a_body_that_is_not_in_its_encoding_is_refused(name: str, body: bytes) -> None:
    assert refused(body, name) == (400, "the body is not in the encoding that content-encoding names")


def test_a_window_larger_than_senders_may_use_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    assert refused(stream.compress(BODY) + stream.flush(), "zstd")[0] == 400


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "zstd", "gzip, zstd"]))
def test_any_bytes_are_decoded_or_refused(body: bytes, name: str) -> None:
    statuses = {200}
    try:
        decoded(body, name, LIMIT)
    except RequestError as error:
        statuses.add(error.rejection.status)
    assert statuses <= {200, 400, 413}


@pytest.mark.parametrize(
    ("name", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("zstd", zstandard.compress)]
)
def test_the_limit_is_that_of_the_decoded_body(name: str, encode: Encode) -> None:
    body = random.Random(1).randbytes(10_000).hex().encode()
    assert decoded(encode(body), name, len(body)) == body
    assert refused(encode(body), name, len(body) - 1) == (
        413,
        f"the decoded request body is larger than {len(body) - 1} bytes",
    )


BOMBS: list[tuple[str, Encode]] = [
    ("gzip", gzip.compress),
    ("deflate", zlib.compress),
    ("zstd", zstandard.compress),
    ("gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
    ("gzip, zstd", lambda body: zstandard.compress(gzip.compress(body))),
]


@pytest.mark.parametrize(("name", "encode"), BOMBS, ids=[name for name, _ in BOMBS])
def test_a_bomb_takes_little_memory(name: str, encode: Encode) -> None:
    bomb = encode(bytes(200 << 20))
    tracemalloc.start()
    try:
        status, _ = refused(bomb, name)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert status == 413
    assert peak < 24 << 20


# In an exchange


def asked(director: FakeDirector, body: bytes, *headers: tuple[str, str], path: str = "/v1/completions") -> list[Send]:
    exchange = Exchange(ExchangeSettings(max_body_bytes=1 << 20), director, random.Random(1))
    assert exchange.receive(Incoming(post(*headers, path=path)), 0.0) == []
    sends = exchange.receive(Incoming(RequestBody(body, end_of_stream=True)), 0.1)
    while exchange.pending:
        sends += exchange.go_on(0.1)
    return sends


def passed_on(sends: list[Send]) -> bytes:
    return b"".join(each.body for each in sends if isinstance(each, BodyReply))


@pytest.mark.parametrize(("name", "encode"), ENCODINGS, ids=[name or "empty" for name, _ in ENCODINGS])
def test_an_encoded_body_is_scheduled_by_what_it_says_and_passes_on_as_it_came(name: str, encode: Encode) -> None:
    director = FakeDirector()
    body = encode(BODY)
    sends = asked(director, body, ("content-encoding", name))
    (request,) = director.requests
    assert request.body is not None
    assert (request.body.model, request.body.prompt) == ("m", b"hello there")
    assert request.size_bytes == len(body)
    assert passed_on(sends) == body
    assert isinstance(sends[0], HeadersReply)
    assert sends[0].remove_headers == ()


@pytest.mark.parametrize(("name", "encode"), ENCODINGS[:13], ids=[name for name, _ in ENCODINGS[:13]])
def test_a_rewritten_body_goes_on_without_its_encoding(name: str, encode: Encode) -> None:
    director = FakeDirector(target_model="served")
    sends = asked(director, encode(BODY), ("content-encoding", name))
    assert orjson.loads(passed_on(sends)) == {"model": "served", "prompt": "hello there"}
    assert isinstance(sends[0], HeadersReply)
    if name not in ("", "identity"):
        assert sends[0].remove_headers == ("content-encoding",)
    assert dict(sends[0].set_headers)["Content-Length"] == str(len(passed_on(sends))).encode()


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [("br", BODY, 415), ("gzip", BODY, 400), ("gzip", gzip.compress(bytes(2 << 20)), 413), ("zstd", b"\xff", 400)],
)
def test_what_cannot_be_decoded_is_answered_at_once(name: str, body: bytes, status: int) -> None:
    director = FakeDirector()
    (answer,) = asked(director, body, ("content-encoding", name))
    assert isinstance(answer, ImmediateReply)
    assert answer.status == status
    assert director.requests == []


def test_what_is_not_read_need_not_be_decoded() -> None:
    director = FakeDirector()
    sends = asked(director, b"\xff\x00", ("content-encoding", "br"), path="/v1/audio/transcriptions")
    assert passed_on(sends) == b"\xff\x00"
