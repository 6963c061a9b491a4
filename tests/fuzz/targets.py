"""What is fuzzed: for each surface a function of bytes that fails where those bytes get further than they should.

A target raises only where something is wrong: an error that is not of the kind the surface promises, a value out of its
bounds, a pick that another endpoint's page spoils, or books that do not return to zero.
"""

import contextlib
import logging
import math
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from adapter.answering.responder import Responder
from adapter.answering.store_provider import StoreProvider
from adapter.api.documents import Clock, constant_documents
from adapter.api.negotiation import Preferences
from adapter.api.paths import ExternalRequest, ObjectRequest, parse
from adapter.errors import ApiError
from infscale.config.read import read_config
from infscale.discovery.state import read_state
from infscale.documents.strict_document import load
from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.errors import ConfigError, ExpositionError
from infscale.metrics.pages.dialects import DIALECTS
from infscale.metrics.pages.interpreter import Interpreter, detect
from infscale.metrics.published.gpu_readers import GPU
from infscale.metrics.sample import EngineSample, GpuSample
from infscale.metrics.store.metrics_store import MetricStore
from infscale.periodic import FetchError
from infscale.sources.gpu_exporter_page import GpuPageReader
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorSettings
from picker.epp_config.loader import load_picker_config, preset
from picker.errors import RequestError
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.parsing import DEFAULT_PARSERS, parse_body
from picker.request import Decision, Headers, InferenceRequest, Outcome
from picker.transport.budget import Budget
from picker.transport.server.calls import Call, Calls
from picker.transport.server.exchange_call import ExchangeCall
from tests.fakes.samples import engine_sample
from tests.picker.transport.fuzz import LIMITS, Books, Crashes, Reader, check_streams
from tests.picker.transport.whole_reads import receive

Target = Callable[[bytes], None]

CORPUS = Path(__file__).parent / "corpus"
_POOL = ObjectKey("default", "default")
_HOSTILE, _HEALTHY = EndpointKey("default", "hostile"), EndpointKey("default", "healthy")
_MAX_TEXT = 64 * 1024
_MAX_MESSAGE_BYTES = 1 << 18


class _World:
    """A store with two endpoints and a director; one of them is healthy and reports again before each pick."""

    def __init__(self) -> None:
        self.now = 100.0
        self.store = MetricStore("fuzz")
        endpoints = tuple(
            Endpoint(key, f"10.0.0.{place}", 8000, {}) for place, key in enumerate((_HOSTILE, _HEALTHY), 1)
        )
        self.state = DiscoveryState(endpoints, (Pool(_POOL, {}),), (), ())
        self.store.sync(self.state)
        settings = DirectorSettings(records=4)
        self.director = PoolDirector(_POOL, preset("infscale"), self.store, random.Random(1), settings)
        self.director.sync(self.state)

    def scraped(self, key: EndpointKey, sample: EngineSample) -> None:
        """Take `sample` in, a moment after everything else."""
        self.now += 0.25
        self.store.record_scrape(key, sample, self.now)

    def check(self) -> None:
        """Pick, end what was picked, and look at the books."""
        self.scraped(_HEALTHY, engine_sample(1.0, 1.0, 0.1, fingerprint=int(self.now * 100)))
        route = DEFAULT_PARSERS.route("/v1/chat/completions")
        assert route is not None
        body = parse_body(route, b'{"model":"m","messages":[{"role":"user","content":"' + b"hello " * 60 + b'"}]}')
        for number in range(2):
            request = InferenceRequest(str(number), "/v1/chat/completions", Headers(()), body)
            verdict = self.director.direct(request, self.now)
            assert isinstance(verdict, Decision), f"a healthy endpoint, and no pick: {verdict}"
            self.director.finished(request, verdict, Outcome("completed", status=200), self.now)
        snapshot = self.store.snapshot(_POOL)
        assert snapshot is not None
        assert not snapshot.in_flight_requests.any(), "requests are in flight that are over"
        assert not snapshot.in_flight_tokens.any(), "tokens are in flight that are over"


def engine_pages() -> Target:
    """Metrics pages of a model server, two of them one after another where the input has a NUL byte."""
    interpreters = {name: Interpreter(dialect) for name, dialect in DIALECTS.items()}

    def target(data: bytes) -> None:
        world = _World()
        for page in data.split(b"\0")[:3]:
            try:
                dialect = detect(page, tuple(DIALECTS.values()))
                sample = None if dialect is None else interpreters[dialect.name].interpret(page)
            except ExpositionError:
                continue
            if sample is None:
                continue
            kv = sample.gauges.kv_utilization
            assert kv is None or 0.0 <= kv <= 1.0, f"a utilisation of {kv}"
            for value in (
                sample.gauges.waiting,
                sample.gauges.running,
                sample.gauges.kv_used_tokens,
                sample.gauges.waiting_tokens,
            ):
                assert value is None or (math.isfinite(value) and value >= 0.0), f"a count of {value}"
            world.scraped(_HOSTILE, sample)
        world.check()

    return target


def gpu_pages() -> Target:
    """Pages of a dcgm-exporter."""
    reader = GpuPageReader()

    def target(data: bytes) -> None:
        world = _World()
        try:
            samples = reader.read(data)
        except (ExpositionError, FetchError):
            return
        for sample in samples.values():
            assert isinstance(sample, GpuSample)
            world.store.record_beside(GPU, _HOSTILE, sample, world.now)
        world.check()

    return target


def discovery_files() -> Target:
    """Discovery files."""

    def target(data: bytes) -> None:
        with contextlib.suppress(ConfigError):
            state = read_state(load(_text(data), "discovery.yaml"))
            MetricStore("fuzz").sync(state)

    return target


def configurations() -> Target:
    """Configuration files of `infscale serve`, and `EndpointPickerConfig`s."""

    def target(data: bytes) -> None:
        text = _text(data)
        with contextlib.suppress(ConfigError):
            read_config(load(text, "serve.yaml"), Path("/"))
        with contextlib.suppress(ConfigError):
            load_picker_config(text, "epp.yaml")

    return target


def api_paths() -> Target:
    """Requests to the adapter: the first line is the method and path, the second the query, the third `Accept`."""
    world = _World()
    load = engine_sample(2.0, 1.0, 0.5, fingerprint=1)
    world.scraped(_HOSTILE, load)
    world.scraped(_HEALTHY, load)
    responder = Responder(StoreProvider(world.store), constant_documents((), "0"))
    clock = Clock(world.now, datetime.now(UTC))

    def target(data: bytes) -> None:
        first, query, accept, *_ = (*data.decode("utf-8", "surrogateescape").split("\n"), "", "")
        method, _, path = first.partition(" ")
        try:
            request = parse(method, path, query)
        except ApiError as refused:
            code = refused.code
        else:
            code = 200
            if isinstance(request, ObjectRequest | ExternalRequest):
                code = responder.answer(request, clock, Preferences(accept or None)).code
        assert code in {200, 400, 404, 405, 406, 503}, code

    return target


def request_bodies() -> Target:
    """Request bodies: the first line is the path."""
    table = DEFAULT_PARSERS

    def target(data: bytes) -> None:
        path, _, body = data.partition(b"\n")
        route = table.route(path.decode("latin-1"))
        if route is None:
            return
        with contextlib.suppress(RequestError):
            parsed = parse_body(route, body)
            assert parsed.prompt_tokens >= 0
            assert parsed.max_output_tokens is None or parsed.max_output_tokens >= 0

    return target


def gateway_connections() -> Target:
    """What a gateway sends on a connection to the ext_proc port: several reads, parted by four 0xFE bytes."""
    books, crashes = Books(), Crashes()
    logging.getLogger("picker.transport.endings").addHandler(crashes)
    settings, rng = ExchangeSettings(max_body_bytes=100_000, destination_count=2), random.Random(2)
    budget = Budget(1 << 30, 100_000)

    class Connection:
        def open_call(self, calls: Calls, path: str | None, stream: int) -> Call | None:
            exchange = Exchange(settings, books, rng)
            if path is None:
                return None
            return ExchangeCall(calls, stream, exchange, books.clock, budget, _MAX_MESSAGE_BYTES)

        def wants_steps(self) -> None:
            """The calls do them as soon as they have gone through a read."""

        def flush(self) -> None:
            """Nothing is said outside reads."""

    def target(data: bytes) -> None:
        calls, written, reader = Calls(LIMITS, Connection()), bytearray(), Reader()
        for piece in data.split(b"\xfe" * 4):
            receive(calls, piece)
            written += b"".join(calls.h2.take())
            reader.read(written)
            if calls.failed:
                break
            check_streams(SimpleNamespace(_calls=calls))
        calls.lost()
        assert not budget.held_bytes, "memory is counted that nothing holds"
        books.scrape()
        books.check()
        assert not crashes.seen, f"crashed: {crashes.seen}"

    return target


def _text(data: bytes) -> str:
    return data[:_MAX_TEXT].decode("utf-8", "replace")


TARGETS: Mapping[str, Callable[[], Target]] = {
    "engine-pages": engine_pages,
    "gpu-pages": gpu_pages,
    "discovery-files": discovery_files,
    "configurations": configurations,
    "api-paths": api_paths,
    "request-bodies": request_bodies,
    "gateway-connections": gateway_connections,
}
"""By name, each with what it needs made anew."""
