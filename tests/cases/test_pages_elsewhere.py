"""Engines whose page is not where others have it, and pages that have less than others."""

import asyncio
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import web

from infscale.config.read import read_config
from infscale.documents.strict_document import load
from infscale.endpoint import Endpoint, EndpointKey
from infscale.metrics.pages.dialect import Dialect
from infscale.metrics.pages.dialects import LMDEPLOY, SGLANG, TRTLLM_SERVE, VLLM
from infscale.metrics.pages.exposition import is_json
from infscale.metrics.pages.interpreter import Interpreter, MissingMetrics, detect, interpret
from infscale.metrics.pages.written_dialects import Engines
from infscale.periodic import Outcome
from infscale.scrape.loop import TargetLoop
from infscale.scrape.target import Target, TargetTemplate
from tests.fakes.counts import counters_of
from tests.scrape.servers import RecordingSink, http_server

PAGES = Path(__file__).parent / "pages"
JSON = (PAGES / "trtllm-serve-metrics.json").read_bytes()
KEY = EndpointKey("llm", "trtllm-0")
TRTLLM_PAGE = (
    b'trtllm_num_requests_waiting{model_name="m"} 4.0\ntrtllm_num_requests_running{model_name="m"} 6.0\n'
    b'trtllm_kv_cache_utilization{model_name="m"} 0.75\n'
)


VLLM_PAGE = b"vllm:num_requests_waiting 7\n"


class Trtllm:
    """A server with JSON at ``/metrics`` and its page where TensorRT-LLM has it; None: there is none of the two."""

    def __init__(self, page: bytes | None = TRTLLM_PAGE, json: bytes | None = JSON) -> None:
        self.page = page
        self.json = json
        self.asked: list[str] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.path == "/metrics" and self.json is not None:
            return web.Response(body=self.json, content_type="application/json")
        if request.path != "/prometheus/metrics" or self.page is None:
            raise web.HTTPNotFound
        return web.Response(body=self.page)


async def scraped(server: Trtllm, dialect: Dialect | None, path: str = "/metrics", times: int = 1) -> RecordingSink:
    sink = RecordingSink()
    async with http_server(server) as authority:
        target = Target(KEY, f"http://{authority}{path}", dialect)
        with closing(TargetLoop(target, sink, Interpreter, lambda: 50.0)) as loop:
            for _ in range(times):
                await loop.step(2.0)
    return sink


@pytest.mark.parametrize(
    "json",
    [JSON, b"[]", b"[]\n", b"{}", b' {"error": "x"}\n', b"null", b'"none"\n', b"0", b"\xef\xbb\xbf[]"],
    ids=["stats", "none", "a line", "{}", "an object", "null", "text", "number", "with a mark"],
)
async def test_a_page_that_is_json_is_looked_for_where_the_engine_has_it(json: bytes) -> None:
    server = Trtllm(json=json)
    sink = await scraped(server, None, times=2)
    assert [sample.gauges.waiting for _, sample, _ in sink.samples] == [4.0, 4.0]
    assert server.asked == ["/metrics", "/prometheus/metrics", "/prometheus/metrics"]
    assert sink.failures == []


@pytest.mark.parametrize("path", ["/metrics", "/stats"])
@pytest.mark.parametrize("dialect", [None, TRTLLM_SERVE], ids=["unknown", "named"])
async def test_a_server_without_a_page_where_it_is_asked_is_asked_at_the_usual_paths(
    path: str, dialect: Dialect | None
) -> None:
    server = Trtllm(json=None)
    sink = await scraped(server, dialect, path, times=3)
    assert [sample.gauges.waiting for _, sample, _ in sink.samples] == [4.0, 4.0, 4.0]
    # It is remembered where the page was found.
    assert server.asked[-2:] == ["/prometheus/metrics"] * 2
    assert server.asked.count(path) <= 2
    assert sink.failures == []


async def test_a_page_that_is_where_most_have_it_is_found_from_a_configured_path() -> None:
    sink = await scraped(Trtllm(json=VLLM_PAGE), VLLM, "/stats", times=2)
    assert [sample.gauges.waiting for _, sample, _ in sink.samples] == [7.0, 7.0]


async def test_a_server_without_any_page_is_looked_through_once_in_a_while_and_not_at_each_scrape() -> None:
    server, now, sink = Trtllm(None, None), [50.0], RecordingSink()
    async with http_server(server) as authority:
        target = Target(KEY, f"http://{authority}/metrics", None)
        with closing(TargetLoop(target, sink, Interpreter, lambda: now[0])) as loop:
            for after in (0.0, 5.0, 5.0):
                now[0] += after
                await loop.step(2.0)
            server.page = TRTLLM_PAGE
            now[0] += 10.0
            await loop.step(2.0)
    assert server.asked.count("/prometheus/metrics") == 3
    assert len(sink.samples) == 1
    cause = "HTTP 404; at /prometheus/metrics, where trtllm-serve has them: HTTP 404"
    assert [said for _, said, _ in sink.failures] == [cause] * 3


async def test_a_server_that_hangs_at_other_paths_is_not_looked_through_again_at_once() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        if request.path == "/metrics":
            raise web.HTTPNotFound
        await asyncio.Event().wait()
        raise AssertionError

    sink = RecordingSink()
    async with http_server(answer) as authority:
        target = Target(KEY, f"http://{authority}/metrics", None)
        with closing(TargetLoop(target, sink, Interpreter, lambda: 50.0)) as loop:
            await loop.step(0.1)
            await loop.step(2.0)
    assert asked == ["/metrics", "/prometheus/metrics", "/metrics"]
    causes = ["timed out after 0.1 s", "HTTP 404; it does not answer in time at other paths"]
    assert [said for _, said, _ in sink.failures] == causes


async def test_a_page_elsewhere_that_cannot_be_read_decides_nothing() -> None:
    """A beginning of TensorRT-LLM's, while the server starts; then there is a vLLM."""
    server, now, sink = Trtllm(b"trtllm_num_requests_waiting{ 1\n", json=None), [50.0], RecordingSink()
    async with http_server(server) as authority:
        target = Target(KEY, f"http://{authority}/other", None)
        with closing(TargetLoop(target, sink, Interpreter, lambda: now[0])) as loop:
            await loop.step(2.0)
            server.page, server.json = None, VLLM_PAGE
            now[0] += 10.0
            await loop.step(2.0)
    assert "malformed sample" in sink.failures[0][1]
    assert [sample.gauges.waiting for _, sample, _ in sink.samples] == [7.0]


@pytest.mark.parametrize(
    ("dialect", "cause"),
    [
        (SGLANG, "HTTP 404; sglang has one with --enable-metrics"),
        (LMDEPLOY, "HTTP 404; lmdeploy has one with --enable-metrics"),
        (VLLM, "HTTP 404"),
        (TRTLLM_SERVE, "HTTP 404; at /prometheus/metrics, where trtllm-serve has them: HTTP 404"),
    ],
    ids=lambda each: each.name if isinstance(each, Dialect) else "",
)
async def test_the_cause_says_how_an_engine_is_made_to_have_a_page(dialect: Dialect, cause: str) -> None:
    sink = await scraped(Trtllm(None, None), dialect)
    assert [said for _, said, _ in sink.failures] == [cause]


@pytest.mark.parametrize("html", [b"<!doctype html><html></html>", b"\n<html><body>no</body></html>\n", b"<?xml?>"])
@pytest.mark.parametrize("dialect", [None, VLLM], ids=["unknown", "vllm"])
async def test_a_page_that_is_html_is_said_to_be(html: bytes, dialect: Dialect | None) -> None:
    sink = await scraped(Trtllm(json=html), dialect, times=2)
    assert [said for _, said, _ in sink.failures] == ["the page is HTML, not metrics in text form"] * 2


async def test_a_server_found_elsewhere_is_looked_for_anew_when_another_one_may_have_come() -> None:
    sink = RecordingSink()
    server = Trtllm()
    async with http_server(server) as authority:
        target = Target(KEY, f"http://{authority}/metrics", None)
        loop = TargetLoop(target, sink, Interpreter, lambda: 50.0)
        await loop.step(2.0)
    with closing(loop):
        assert await loop.step(2.0) is Outcome.REFUSED
        port = int(authority.rpartition(":")[2])
        server.json = b"vllm:num_requests_waiting 1\n"
        async with http_server(server, port):
            await loop.step(2.0)
    assert [sample.gauges.waiting for _, sample, _ in sink.samples] == [4.0, 1.0]


@pytest.mark.parametrize(
    ("page", "dialect", "cause"),
    [
        (None, None, "; at /prometheus/metrics, where trtllm-serve has them: HTTP 404"),
        (b"up 1\n", None, "; at /prometheus/metrics, where trtllm-serve has them: no trtllm-serve metrics on the page"),
        (TRTLLM_PAGE, VLLM, "; trtllm-serve has them at /prometheus/metrics"),
    ],
    ids=["no page there either", "another page there", "said to be another engine"],
)
async def test_the_cause_says_json_and_names_the_other_path(
    page: bytes | None, dialect: Dialect | None, cause: str
) -> None:
    sink = await scraped(Trtllm(page), dialect, times=2)
    assert [said for _, said, _ in sink.failures] == [f"the page is JSON, not metrics in text form{cause}"] * 2


async def test_a_named_engine_is_asked_at_its_path_and_a_pool_can_mix_engines() -> None:
    endpoints = [
        Endpoint(EndpointKey("llm", name), "10.0.0.1", 8000, {"llm-d.ai/engine-type": name} if labelled else {})
        for name, labelled in (("vllm", True), ("trtllm-serve", True), ("sglang", True), ("unlabelled", False))
    ]
    paths = [target.url.removeprefix("http://10.0.0.1:8000") for target in TargetTemplate().targets(endpoints)]
    assert paths == ["/metrics", "/prometheus/metrics", "/metrics", "/metrics"]
    everywhere = TargetTemplate(path="/m").targets(endpoints)
    assert {target.url for target in everywhere} == {"http://10.0.0.1:8000/m"}
    by_default = TargetTemplate(engines=Engines(default=TRTLLM_SERVE)).targets(endpoints)
    assert by_default[-1].url.endswith("/prometheus/metrics")


async def test_a_named_engine_at_another_path_is_found_too() -> None:
    server = Trtllm()
    sink = await scraped(server, TRTLLM_SERVE, "/metrics")
    assert [sample.gauges.running for _, sample, _ in sink.samples] == [6.0]


def test_the_path_of_a_dialect_can_be_configured() -> None:
    text = """
        discovery: {file: d.yaml}
        scrape:
          dialects:
          - {name: acme, waiting: acme_queue, path: /stats/prometheus}
          - {name: trt, like: trtllm-serve}
    """
    engines = read_config(load(text, "serve.yaml"), Path()).scrape.engines()
    assert engines.dialects["acme"].path == "/stats/prometheus"
    assert engines.dialects["trt"].path == "/prometheus/metrics"


@pytest.mark.parametrize(
    ("page", "json"),
    [
        (JSON, True),
        (b"[]", True),
        (b"\n  [\n", True),
        (b'{"detail":"Not Found"}', True),
        (b"{ }", True),
        (b'{"a.metric",le="1"} 1\n', False),
        (b'{"a.metric"} 1\n', False),
        (b"# HELP x [\nx 1\n", False),
        (b"", False),
        (b"<html>", False),
    ],
)
def test_json_is_told_from_a_page(page: bytes, json: bool) -> None:
    assert is_json(page) is json


def test_a_page_of_histograms_without_gauges_is_read_for_what_it_has() -> None:
    page = (PAGES / "trtllm-serve-1.0.prom").read_bytes()
    assert detect(page) is TRTLLM_SERVE
    sample = interpret(page, TRTLLM_SERVE)
    assert (sample.gauges.waiting, sample.gauges.running, sample.gauges.kv_utilization) == (None, None, None)
    queue = sample.counts.histograms["queue_time", "undefined"]
    assert (queue.counts.tolist(), queue.sum) == ([4.0, 5.0, 6.0], 4.1)
    assert counters_of(sample.counts) == {("requests_finished", "undefined"): 6.0}


@pytest.mark.parametrize(
    ("dialect", "page"),
    [
        (VLLM, b'vllm:request_success_total{model_name="m"} 3\n'),
        (VLLM, b'vllm:kv_cache_usage_perc{model_name="m"} 0.5\n'),
        (SGLANG, b'sglang:prompt_tokens_total{model_name="m"} 3\n'),
    ],
    ids=["a counter", "a gauge", "tokens"],
)
def test_a_page_of_any_engine_is_read_for_what_it_has(dialect: Dialect, page: bytes) -> None:
    assert detect(page) is dialect
    interpret(page, dialect)


def test_a_page_that_only_sizes_a_cache_says_nothing() -> None:
    page = b'vllm:cache_config_info{block_size="16",num_gpu_blocks="100"} 1\n'
    with pytest.raises(MissingMetrics, match="no vllm metrics on the page"):
        interpret(page, VLLM)


def test_loads_tell_engines_apart_before_anything_else_does() -> None:
    page = b'request_success_total 3\nsglang:prompt_tokens_total 1\nvllm:num_requests_running{model_name="m"} 1\n'
    assert detect(page) is VLLM


def test_what_any_program_publishes_tells_no_engine() -> None:
    assert detect(b"process_start_time_seconds 1.7e9\nup 1\n") is None
