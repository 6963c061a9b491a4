"""Damaged recordings of a real Envoy against a whole connection: `python -m tests.picker.transport.fuzz --help`.

Frames of the recordings (see `tests.picker.transport.record`) are changed, dropped, repeated, moved, split, merged and
cut off, and fed in pieces of any size to the http2 transport's connection with real exchanges and a real director
behind it. After every connection: no error has escaped or been caught as a crash, what was sent is well-formed HTTP/2,
no stream is stuck, every decision has been finished and the books are at zero. Over the run, memory stays what it is.
"""

import argparse
import asyncio
import gc
import logging
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import hpack
from hyperframe.frame import Frame as PeerFrame

from infscale.endpoint import DiscoveryState, Endpoint, EndpointKey, ObjectKey, Pool
from infscale.metrics.store.metrics_store import MetricStore
from picker.directing.director import PoolDirector
from picker.directing.director_books import DirectorSettings
from picker.epp_config.loader import preset
from picker.ext_proc.exchange import Exchange, ExchangeSettings
from picker.request import Decision, Headers, InferenceRequest, Outcome, ParsedBody, Rejection
from picker.transport.budget import Budget
from picker.transport.h2 import frames
from picker.transport.h2.events import Limits
from picker.transport.h2.frames import Kind
from picker.transport.health import Health
from picker.transport.interface import TransportSettings
from picker.transport.limits import LimitNotes
from picker.transport.server.gateway_connection import GatewayConnection
from picker.transport.server.port import Port
from tests.fakes.samples import engine_sample
from tests.picker.transport.damage import Corpus, corpus, damaged, pieces, script, split_anew

LIMITS = Limits(max_streams=50, window_bytes=1 << 17, queued_bytes=1 << 18)
_POOL = ObjectKey("default", "default")
_CONNECTIONS_A_CHECK = 100
_GROWTH_OBJECTS = 100
_GROWTH_BYTES = 64 << 20
"""What may still come when a quarter of a run is over: a leak on every connection is more, of objects or of bytes."""


# What it is sent to


class Books:
    """A real director over a real store, and whether each decision was finished."""

    def __init__(self) -> None:
        self.now = 0.0
        self.decided = 0
        self.finished_count = 0
        self.store = MetricStore("fuzz")
        endpoints = tuple(
            Endpoint(EndpointKey("default", f"e-{number}"), f"10.0.0.{number}", 8000, {}) for number in range(1, 4)
        )
        state = DiscoveryState(endpoints, (Pool(_POOL, {}),), (), ())
        self.store.sync(state)
        self._keys = [endpoint.key for endpoint in endpoints]
        self._director = PoolDirector(
            _POOL, preset("infscale"), self.store, random.Random(1), DirectorSettings(records=16)
        )
        self._director.sync(state)
        self.scrape()

    def clock(self) -> float:
        return self.now

    def scrape(self) -> None:
        """Let some time pass, and endpoints report."""
        self.now += 0.01
        for number, key in enumerate(self._keys):
            self.store.record_scrape(
                key, engine_sample(float(number), 0.0, 0.1, fingerprint=int(self.now * 100)), self.now
            )

    def direct(self, request: InferenceRequest, now: float) -> Decision | Rejection:
        verdict = self._director.direct(request, now)
        self.decided += isinstance(verdict, Decision)
        return verdict

    def refused(self, headers: Headers, body: ParsedBody | None, rejection: Rejection) -> None:
        self._director.refused(headers, body, rejection)

    def overheard(self, outcome: Outcome) -> None:
        self._director.overheard(outcome)

    def response_started(self, decision: Decision, status: int | None, served: str | None, now: float) -> Decision:
        return self._director.response_started(decision, status, served, now)

    def finished(self, request: InferenceRequest, decision: Decision, outcome: Outcome, now: float) -> None:
        self.finished_count += 1
        self._director.finished(request, decision, outcome, now)

    def check(self) -> None:
        """Every decision was finished once, and nothing is in flight."""
        snapshot = self.store.snapshot(_POOL)
        assert snapshot is not None
        assert self.decided == self.finished_count, f"{self.decided} decisions, {self.finished_count} ends"
        assert not snapshot.in_flight_requests.any(), "requests are in flight that no exchange has"
        assert not snapshot.in_flight_tokens.any(), "tokens are in flight that no exchange has"


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        del name
        return default

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        """Nothing reads here: the fuzzer feeds no more before all of it is done."""

    def resume_reading(self) -> None:
        """See `pause_reading`."""

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        self.closed = True


class Crashes(logging.Handler):
    """Errors that were caught so that one exchange does not end the others: here they are failures."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(vars(record).get("fields", record.getMessage()))


class Reader:
    """Reads what a server sends as a peer's library does, and knows what may follow what."""

    def __init__(self) -> None:
        self._place = 0
        self._decoder = hpack.Decoder()
        self._answered: set[int] = set()
        self._over: set[int] = set()
        self._gone = False

    def read(self, written: bytearray) -> None:
        while self._place < len(written):
            head = bytes(written[self._place : self._place + frames.HEADER_BYTES])
            assert len(head) == frames.HEADER_BYTES, "half a frame was written"
            one, size = PeerFrame.parse_frame_header(memoryview(head))
            payload = bytes(written[self._place + len(head) : self._place + len(head) + size])
            assert len(payload) == size <= frames.MIN_MAX_FRAME_BYTES or one.type == Kind.DATA
            one.parse_body(memoryview(payload))
            self._place += len(head) + size
            self._follow(one.type, head[4], one.stream_id, payload)

    def _follow(self, kind: int | None, flags: int, stream: int, payload: bytes) -> None:
        assert not self._gone, "nothing follows a GOAWAY for a fault"
        if kind == Kind.GOAWAY:
            self._gone = bool(int.from_bytes(payload[4:8], "big"))
        elif kind == Kind.RST_STREAM:
            self._over.add(stream)
        elif kind in {Kind.HEADERS, Kind.DATA}:
            assert stream not in self._over, "nothing is sent on a stream that is over"
            assert kind == Kind.HEADERS or stream in self._answered, "headers come before data"
            if kind == Kind.HEADERS:
                self._decoder.decode(payload)
                self._answered.add(stream)
            if flags & frames.END_STREAM:
                self._over.add(stream)
        else:
            assert kind in {Kind.SETTINGS, Kind.PING, Kind.WINDOW_UPDATE}


def is_pending(connection: Any) -> bool:
    """Whether there is more to do with what has come."""
    return bool(connection._calls.pending)


def check_streams(connection: Any) -> None:
    """No call without its stream, none that has been asked all and does not end, and nothing kept but for windows."""
    shared = connection._calls
    streams: dict[int, Any] = shared.h2._streams
    calls: dict[int, Any] = shared._open
    assert calls.keys() <= streams.keys(), "a call has lost its stream"
    assert len(streams) <= LIMITS.max_streams
    queued = 0
    for number, state in streams.items():
        queue = state.queue or ()
        queued += sum(len(data) for data, _ in queue)
        if state.remote_ended:
            assert queue or type(calls.get(number)).__name__ == "HealthWatch", f"stream {number} is stuck"
        if queue:
            assert min(state.window, shared.h2._window) <= 0, f"stream {number} waits for nothing"
    assert shared.h2.queued_bytes == queued <= LIMITS.queued_bytes
    blocked = shared.h2._blocked.keys()
    assert {number for number, state in streams.items() if state.queue and state.window > 0} <= blocked
    assert blocked <= {number for number, state in streams.items() if state.queue}


# The run


@dataclass
class Totals:
    """What was done. `ends` is how connections ended: failed by the peer's fault, or open to their end."""

    frames: int = 0
    connections: int = 0
    bytes: int = 0
    ends: Counter[str] = field(default_factory=Counter[str])


class Fuzzer:
    """Plays connections one after another; `books` and `crashes` are looked at after each."""

    def __init__(self, corpus: Corpus, rng: random.Random, watches: asyncio.TaskGroup) -> None:
        self._corpus = corpus
        self._rng = rng
        self.books = Books()
        self.crashes = Crashes()
        self.totals = Totals()
        exchange_rng = random.Random(2)
        settings = ExchangeSettings(max_body_bytes=100_000, destination_count=2)
        self._port = Port(
            TransportSettings(max_message_bytes=1 << 18, max_connections=10, max_body_bytes=100_000),
            LIMITS,
            self.books.clock,
            Health(lambda: True),
            watches,
            Budget(1 << 20, 100_000),
            LimitNotes(),
        )
        self._new_exchange = lambda: Exchange(settings, self.books, exchange_rng)

    async def connection(self) -> None:
        """One connection from its first byte to its last. Raises `AssertionError` where something is wrong."""
        if self._rng.random() < 0.03:
            await self._play_bytes()
        else:
            await self._play_frames()
        self.totals.connections += 1
        self.books.scrape()
        self.books.check()
        assert not self.crashes.seen, f"crashed: {self.crashes.seen}"
        # Health watches that were cancelled end in the loop's next round.
        await asyncio.sleep(0)

    async def _play_bytes(self) -> None:
        """A recording as it is, header tables and all, with bytes changed anywhere: none counts as a frame."""
        rng, data = self._rng, bytearray(self._rng.choice(self._corpus.raw))
        for _ in range(rng.randint(0, 5)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        await self._play(pieces(rng, bytes(data)))

    async def _play_frames(self) -> None:
        """Recorded frames, damaged or not."""
        sent = script(self._rng, self._corpus)
        changes = damaged(self._rng, sent)
        encoded = [one.encoded() for one in sent]
        data = frames.PREFACE + b"".join(encoded)
        before = self.books.decided
        if changes:
            # Memory is short now and then, though not where what is decided is compared.
            self._port.budget = Budget(self._rng.choice((60_000, 200_000, 1 << 20)), 50_000)
        fed = await self._play(pieces(self._rng, data), sweeping=bool(changes))
        starts = accumulate(map(len, encoded), initial=len(frames.PREFACE))
        self.totals.frames += sum(start < fed for start in starts)
        if not changes:
            decided = self.books.decided - before
            anew = b"".join(one.encoded() for one in split_anew(self._rng, sent))
            await self._play((frames.PREFACE + anew,))
            assert self.books.decided - before == 2 * decided, "how it is cut into pieces changes what is decided"

    async def _play(self, reads: Iterable[bytes], *, sweeping: bool = False) -> int:
        """Feed a new connection; how much of it was taken. With `sweeping` what takes long may be given up."""
        connection = GatewayConnection(self._port, self._new_exchange)
        wire, reader = Wire(), Reader()
        connection.connection_made(wire)
        fed = 0
        for piece in reads:
            connection.data_received(piece)
            while is_pending(connection) and not wire.closed:
                await asyncio.sleep(0)
            if sweeping and self._rng.random() < 0.05:
                self._port.sweep(self.books.now + self._rng.choice((0.0, 1.0, 100.0)))
            fed += len(piece)
            reader.read(wire.written)
            check_streams(connection)
            if wire.closed:
                break
        self.totals.bytes += fed
        self.totals.ends["failed" if wire.closed else "open"] += 1
        if not wire.closed and self._rng.random() < 0.2:
            connection.leave()
            reader.read(wire.written)
        connection.connection_lost(None)
        assert not connection.busy
        assert not self._port.connections
        assert not self._port.budget.held_bytes, "memory is counted that nothing holds"
        self._port.budget = Budget(1 << 20, 100_000)
        return fed


async def fuzz(frame_count: int, seed: int, said: Callable[[str], None] = lambda _: None) -> Totals:
    """Play connections until `frame_count` frames have been fed. Raises `AssertionError` naming the connection."""
    crash_log = logging.getLogger("picker.transport.endings")
    async with asyncio.TaskGroup() as watches:
        fuzzer = Fuzzer(corpus(), random.Random(seed), watches)
        crash_log.addHandler(fuzzer.crashes)
        try:
            await _run(fuzzer, frame_count, said)
        finally:
            crash_log.removeHandler(fuzzer.crashes)
    return fuzzer.totals


async def _run(fuzzer: Fuzzer, frame_count: int, said: Callable[[str], None]) -> None:
    totals, memory = fuzzer.totals, Memory(frame_count)
    while totals.frames < frame_count:
        try:
            await fuzzer.connection()
        except AssertionError as error:
            error.add_note(f"on connection {totals.connections}")
            raise
        if totals.connections % _CONNECTIONS_A_CHECK == 0:
            said(memory.check(totals))


class Memory:
    """Watches that nothing grows any more once a quarter of the run has filled the caches."""

    def __init__(self, frame_count: int) -> None:
        self._warm_at = frame_count // 4
        self._before: tuple[int, int] | None = None

    def check(self, totals: Totals) -> str:
        """What is to be said of it. Raises `AssertionError` where it has grown."""
        gc.collect()
        now = len(gc.get_objects()), _resident_bytes()
        if self._before is None and totals.frames >= self._warm_at:
            self._before = now
        if self._before is not None:
            assert now[0] - self._before[0] < _GROWTH_OBJECTS, f"from {self._before[0]} to {now[0]} objects"
            assert now[1] - self._before[1] < _GROWTH_BYTES, f"from {self._before[1]} to {now[1]} bytes"
        return f"{totals.frames} frames, {now[0]} objects, {now[1] >> 20} MiB"


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    """Run as long as asked and say what was done."""
    parser = argparse.ArgumentParser(description="Feed damaged recordings of Envoy to the picker's http2 transport.")
    parser.add_argument("--frames", type=int, default=2_000_000, help="how many to feed (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what is damaged, and how (default %(default)s)")
    asked = parser.parse_args()
    started = time.monotonic()
    totals = asyncio.run(fuzz(asked.frames, asked.seed, print))
    seconds = time.monotonic() - started
    print(
        f"{totals.frames} frames, {totals.bytes >> 20} MiB, {totals.connections} connections "
        f"({totals.ends['open']} open to their end, {totals.ends['failed']} ended for a fault of the peer) "
        f"in {seconds:.0f} s: {totals.frames / seconds:.0f} frames/s; nothing was found"
    )


if __name__ == "__main__":
    main()
