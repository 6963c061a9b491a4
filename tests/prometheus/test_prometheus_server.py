"""A Prometheus is asked off the loop, within bounds, with credentials from files; each fault has its cause in words."""

import asyncio
import base64
import ssl
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from infscale.periodic import FetchError, Rejected, Unreachable
from infscale.prometheus.api_answer import Partial, Unusable
from infscale.prometheus.prometheus_server import PrometheusServer
from infscale.prometheus.server_settings import BasicAuth, ServerSettings
from tests.fakes.certificates import SERVER, Extension, Issued, authority
from tests.fakes.kept_memory import without_collections
from tests.prometheus.fake_prometheus import Answer, FakePrometheus, endless, hang, listening, saying, vector

SECRET = "s3cret-token"  # of a test


@asynccontextmanager
async def asked(fake: FakePrometheus, **settings: Any) -> AsyncGenerator[PrometheusServer, None]:
    async with listening(fake) as answering:
        given = replace(ServerSettings("main", answering.url), **settings)
        async with PrometheusServer(given) as server:
            yield server


async def test_rows_come_with_labels_values_and_the_time_of_evaluation() -> None:
    rows = vector(({"__name__": "x", "pod": "a"}, "1.5"), ({"pod": "b"}, "NaN"), ({"pod": "c"}, "+Inf"), at=12.5)
    async with asked(FakePrometheus({"x": rows})) as server:
        found = await server.instant("x")
    assert [(dict(row.labels), row.at) for row in found] == [({"pod": name}, 12.5) for name in "abc"]
    assert found[0].value == 1.5
    assert all(row.value != row.value for row in found[1:]), "what is no number is unknown"


async def test_a_scalar_is_one_row_without_labels() -> None:
    scalar = {"status": "success", "data": {"resultType": "scalar", "result": [7, "3"]}}
    async with asked(FakePrometheus({"3": scalar})) as server:
        (row,) = await server.instant("3")
    assert (dict(row.labels), row.value, row.at) == ({}, 3.0, 7.0)


def matrix(*rows: Any) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "matrix", "result": list(rows)}}


async def test_a_range_has_values_by_their_times_and_no_value_where_there_is_none() -> None:
    rows = matrix({"metric": {"__name__": "x", "pod": "a"}, "values": [[10, "1.5"], [25, "NaN"], [40.5, "2"]]})
    async with asked(FakePrometheus({"x": rows})) as server:
        (found,) = await server.ranges("x", 10, 41, 15.0)
    assert (dict(found.labels), dict(found.values)) == ({"pod": "a"}, {10.0: 1.5, 40.5: 2.0})


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (vector(({}, "1")), "of type vector, expected a matrix"),
        (matrix({"metric": {}}), "not in the form of a range query's"),
        (matrix({"metric": {}, "values": [[10]]}), "not in the form of a range query's"),
        (matrix(*[{"metric": {}, "values": []}] * 4), "more than max_series"),
    ],
)
async def test_what_is_no_range_is_unusable(answer: dict[str, Any], words: str) -> None:
    async with asked(FakePrometheus({"x": answer}), max_series=3) as server:
        with pytest.raises(Unusable, match=words):
            await server.ranges("x", 10, 40, 15.0)


async def test_series_keep_their_names() -> None:
    series = {"x": [{"__name__": "x", "pod": "a"}]}
    async with asked(FakePrometheus(series={**series})) as server:
        assert [dict(each) for each in await server.series("x", 600.0)] == [{"__name__": "x", "pod": "a"}]


FAULTS: dict[str, tuple[Answer, type[FetchError], str]] = {
    "slow": (hang, FetchError, "timed out after 0.4 s"),
    "a body byte by byte": (endless(b"x", 0.02), FetchError, "timed out after 0.4 s"),
    "a body without end": (endless(b"x" * 65_536, 0.0), Unusable, "larger than max_bytes"),
    "500": (saying(code=500, text="<html>oops"), FetchError, "HTTP status 500"),
    "503 with words": (
        saying({"status": "error", "errorType": "timeout", "error": "query timed out"}, code=503),
        FetchError,
        "HTTP status 503: timeout: query timed out",
    ),
    "a bad query": (
        saying({"status": "error", "errorType": "bad_data", "error": "parse error: x"}, code=400),
        Rejected,
        "HTTP status 400: bad_data: parse error: x",
    ),
    "401": (saying(code=401, text=SECRET), Rejected, "does not take our credentials"),
    "a redirect": (saying(code=302, text="", headers={"Location": "http://127.0.0.1:1/"}), Unusable, "a redirect"),
    "a range": (
        saying({"status": "success", "data": {"resultType": "matrix", "result": []}}),
        Unusable,
        "of type matrix",
    ),
    "a string": (
        saying({"status": "success", "data": {"resultType": "string", "result": [1, "x"]}}),
        Unusable,
        "of type string",
    ),
    "no result": (
        saying({"status": "success", "data": {"resultType": "vector"}}),
        Unusable,
        "no result",
    ),
    "no data": (saying({"status": "success"}), Unusable, "of type None"),
    "rows of another form": (
        saying({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {"a": 1}}]}}),
        Unusable,
        "not in the form",
    ),
    "a warning": (saying({**vector(), "warnings": ["one store is down"]}), Partial, "one store is down"),
    "a page": (saying(text="<html>"), Unusable, "no JSON"),
    "a list": (saying([]), Unusable, "no JSON object"),
    "compressed": (saying(text="x", headers={"Content-Encoding": "gzip"}), Unusable, "compressed"),
    "too many series": (saying(vector(*[({"a": str(n)}, "1") for n in range(40)])), Unusable, "about 40 series"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_said_in_plain_words_and_the_next_answer_is_taken(fault: str) -> None:
    answer, kind, words = FAULTS[fault]
    fake = FakePrometheus({"x": vector(({}, "1"))}, answer=answer)
    seconds = 0.4 if "timed out after" in words else 5.0
    async with asked(fake, timeout_seconds=seconds, max_bytes=200_000, max_series=30, workers=1) as server:
        with pytest.raises(kind) as refused:
            await server.instant("x")
        assert words in str(refused.value)
        assert SECRET not in str(refused.value)
        fake.answer = None
        # The one connection is given back once its thread has ended.
        async with asyncio.timeout(5):
            while True:
                try:
                    assert (await server.instant("x"))[0].value == 1.0
                    return
                except FetchError:
                    continue


LARGE: dict[str, Answer] = {
    "without end": endless(b"x" * 65_536, 0.0),
    "no JSON": saying(text="x" * 1_500_000),
    "of another form": saying(
        {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {"a": "x" * 100}}] * 9_000}}
    ),
}


@pytest.mark.parametrize("large", LARGE)
async def test_nothing_is_kept_of_answers_that_are_refused(large: str) -> None:
    """Eight of them would take more than 16 MB."""
    async with asked(FakePrometheus(answer=LARGE[large]), max_bytes=2_000_000, workers=1) as server:
        with without_collections() as kept_bytes:
            for _ in range(8):
                with pytest.raises(Unusable):
                    await server.instant("x")
            # The last one's may still be on its way.
            assert kept_bytes() < 4_000_000


async def test_an_answer_with_warnings_is_taken_where_that_is_configured() -> None:
    fake = FakePrometheus({"x": {**vector(({}, "2")), "warnings": ["one store is down"]}})
    async with asked(fake, partial_answers=True) as server:
        assert (await server.instant("x"))[0].value == 2.0


async def test_nothing_listens() -> None:
    async with PrometheusServer(ServerSettings("main", "http://127.0.0.1:1")) as server:
        with pytest.raises(Unreachable, match="connection refused"):
            await server.instant("x")


async def test_a_server_that_hangs_keeps_neither_the_loop_nor_the_end_waiting() -> None:
    """Blocking calls in the loop fail every test; here the end is what is measured."""
    fake = FakePrometheus(answer=hang)
    async with listening(fake) as answering:
        settings = ServerSettings("main", answering.url, timeout_seconds=30.0, workers=2)
        async with PrometheusServer(settings) as server, asyncio.TaskGroup() as group:
            tasks = [group.create_task(server.instant("x")) for _ in range(3)]
            while len(fake.asked) < 2:
                await asyncio.sleep(0.01)
            for each in tasks:
                each.cancel()
            began = time.monotonic()
        assert time.monotonic() - began < 4.0


async def test_queries_keep_to_their_budget() -> None:
    async with asked(FakePrometheus(), queries_per_second=50.0) as server:
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(11):
                group.create_task(server.instant("x"))
        assert time.monotonic() - began >= 10 / 50.0 - 0.01


async def test_a_long_query_is_sent_as_a_body() -> None:
    query = "x" * 10_000
    fake = FakePrometheus({query: vector(({}, "1"))})
    async with asked(fake) as server:
        assert len(await server.instant(query)) == 1
    assert fake.asked[0][0] == "POST"


async def test_credentials_are_read_each_time_and_sent(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(f"{SECRET}\n")
    fake = FakePrometheus()
    async with asked(fake, token_file=token, headers=(("X-Scope-OrgID", "team"),)) as server:
        await server.instant("x")
        token.write_text("renewed")
        await server.instant("x")
        token.unlink()
        with pytest.raises(FetchError, match="token cannot be read"):
            await server.instant("x")
    assert [each[2]["Authorization"] for each in fake.asked] == [f"Bearer {SECRET}", "Bearer renewed"]
    assert fake.asked[0][2]["X-Scope-OrgID"] == "team"
    assert SECRET not in repr(server.settings)
    assert "team" not in repr(server.settings)


async def test_what_is_no_list_of_series_is_refused(tmp_path: Path) -> None:
    async with asked(FakePrometheus(answer=saying({"status": "success", "data": {}}))) as server:
        with pytest.raises(Unusable, match="no list of series"):
            await server.series("x", 60.0)


@pytest.mark.parametrize("named", [("ca",), ("certificate", "key")])
async def test_a_certificate_that_is_none_is_said(named: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("none")
    files = dict.fromkeys(named, tmp_path / "file")
    async with listening(FakePrometheus()) as fake:
        url = fake.url.replace("http:", "https:")
        async with PrometheusServer(replace(ServerSettings("main", url), **files)) as server:
            with pytest.raises(FetchError, match="a certificate's file is not PEM"):
                await server.instant("x")


async def test_basic_authentication(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(SECRET)
    fake = FakePrometheus()
    async with asked(fake, basic_auth=BasicAuth("infscale", password)) as server:
        await server.instant("x")
    assert fake.asked[0][2]["Authorization"] == f"Basic {base64.b64encode(f'infscale:{SECRET}'.encode()).decode()}"


async def test_the_server_is_believed_by_its_authority_and_shown_our_certificate(tmp_path: Path) -> None:
    """The files are read for each new connection: the renewed ones after the change, without a restart."""
    names: list[Extension] = [(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)]
    signer, of_clients = authority("servers"), authority("clients")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=of_clients.pem)
    tls.verify_mode = ssl.CERT_REQUIRED
    signer.issue("localhost", usage=SERVER, extensions=names).load_into(tls)
    ca, certificate, key = (tmp_path / name for name in ("ca.crt", "tls.crt", "tls.key"))
    _write(of_clients.issue("infscale"), certificate, key)
    ca.write_text(authority("others").pem)
    async with listening(FakePrometheus({"x": vector(({}, "1"))}), tls) as fake:
        settings = ServerSettings("main", fake.url, workers=1, ca=ca, certificate=certificate, key=key)
        async with PrometheusServer(settings) as server:
            with pytest.raises(Unreachable, match="not trusted"):
                await server.instant("x")
            ca.write_text(signer.pem)
            assert len(await server.instant("x")) == 1
            _write(authority("strangers").issue("infscale"), certificate, key)
            with pytest.raises(FetchError):
                await server.instant("x")
        async with PrometheusServer(replace(settings, verify_tls=False, ca=None)) as server:
            _write(of_clients.issue("infscale"), certificate, key)
            assert len(await server.instant("x")) == 1


def _write(issued: Issued, certificate: Path, key: Path) -> None:
    certificate.write_text(issued.pem)
    key.write_bytes(issued.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
