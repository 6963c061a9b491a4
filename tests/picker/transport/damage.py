"""Recordings of a real Envoy as frames, and every way in which the fuzzer damages them."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from h2.settings import SettingCodes

from picker.transport.h2 import frames
from picker.transport.h2.frames import Kind
from picker.transport.h2.hpack import Decoder, literal

RECORDINGS = Path(__file__).parent / "recordings"


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a client. `claimed` is the length its head says, where that is a lie."""

    kind: int
    flags: int
    stream: int
    payload: bytes
    claimed: int | None = None

    def encoded(self) -> bytes:
        size = len(self.payload) if self.claimed is None else self.claimed
        return frames.head(size, self.kind, self.flags, self.stream) + self.payload


def read(recording: bytes) -> list[Frame]:
    """The frames behind a recording's preface, their header blocks written so that none needs another."""
    found: list[Frame] = []
    decoder, place = Decoder(1 << 20), len(frames.PREFACE)
    while place + frames.HEADER_BYTES <= len(recording):
        start = int.from_bytes(recording[place : place + frames.HEADER_BYTES], "big")
        kind, flags, stop = start >> 40 & 0xFF, start >> 32 & 0xFF, place + frames.HEADER_BYTES + (start >> 48)
        payload = recording[place + frames.HEADER_BYTES : stop]
        if kind == Kind.HEADERS:
            payload = b"".join(literal(name, value) for name, value in decoder.decode(payload))
        found.append(Frame(kind, flags, start & frames.MAX_STREAM, payload))
        place = stop
    return found


@dataclass(frozen=True, slots=True)
class Corpus:
    """The recordings: their bytes as they are, their frames, and the frames of each of their streams."""

    raw: tuple[bytes, ...]
    whole: tuple[tuple[Frame, ...], ...]
    streams: tuple[tuple[Frame, ...], ...]

    @classmethod
    def of(cls, recordings: Iterable[bytes]) -> "Corpus":
        raw = tuple(recordings)
        whole = tuple(tuple(read(each)) for each in raw)
        streams: list[tuple[Frame, ...]] = []
        for each in whole:
            ids = dict.fromkeys(one.stream for one in each if one.stream)
            streams += (tuple(one for one in each if one.stream == stream) for stream in ids)
        return cls(raw, whole, tuple(streams))


def corpus() -> Corpus:
    """The recordings of this folder."""
    return Corpus.of(path.read_bytes() for path in sorted(RECORDINGS.glob("*.h2")))


def script(rng: random.Random, corpus: Corpus) -> list[Frame]:
    """Frames of one connection before damage: a recording, or some recorded streams between each other."""
    if rng.random() < 0.05:
        return list(rng.choice(corpus.whole))
    lanes = [
        [replace(one, stream=2 * number + 1) for one in _stream(rng, corpus)] for number in range(rng.randint(1, 12))
    ]
    found = [
        Frame(Kind.SETTINGS, 0, 0, _windows(rng)),
        *([Frame(Kind.SETTINGS, frames.ACK, 0, b"")] * rng.randint(0, 1)),
    ]
    waiting = [iter(lane) for lane in lanes]
    open_now: list[Iterator[Frame]] = []
    while waiting or open_now:
        # Streams are opened in the order of their numbers; what they hold comes as it likes.
        if waiting and (not open_now or rng.random() < 0.3):
            open_now.append(waiting.pop(0))
            lane = open_now[-1]
        else:
            lane = rng.choice(open_now)
        one = next(lane, None)
        if one is None:
            open_now.remove(lane)
        else:
            found.append(one)
        if rng.random() < 0.1:
            stream = rng.choice((0, found[-1].stream))
            found.append(Frame(Kind.WINDOW_UPDATE, 0, stream, rng.choice((1, 1000, 50_000)).to_bytes(4, "big")))
    return found


def _stream(rng: random.Random, corpus: Corpus) -> tuple[Frame, ...]:
    """Any stream; now and then one whose answer is longer than most windows."""
    return max(corpus.streams, key=_size) if rng.random() < 0.1 else rng.choice(corpus.streams)


def _size(stream: tuple[Frame, ...]) -> int:
    return sum(len(one.payload) for one in stream)


def _windows(rng: random.Random) -> bytes:
    """Settings of a client that reads as it likes."""
    size = rng.choice((None, None, 0, 10, 2_000, 65_535, 1 << 20))
    return b"" if size is None else SettingCodes.INITIAL_WINDOW_SIZE.to_bytes(2, "big") + size.to_bytes(4, "big")


# How it is damaged


Damage = Callable[[random.Random, list[Frame], int], None]


def flip(rng: random.Random, sent: list[Frame], at: int) -> None:
    """Bits of a payload."""
    payload = bytearray(sent[at].payload)
    for _ in range(rng.randint(1, 4)):
        if payload:
            payload[rng.randrange(len(payload))] ^= 1 << rng.randrange(8)
    sent[at] = replace(sent[at], payload=bytes(payload))


def flip_near_the_start(rng: random.Random, sent: list[Frame], at: int) -> None:
    """Bits of the messages' structure rather than of the prompts in them."""
    payload = bytearray(sent[at].payload)
    if payload:
        payload[rng.randrange(min(len(payload), 24))] = rng.randrange(256)
    sent[at] = replace(sent[at], payload=bytes(payload))


def drop(_: random.Random, sent: list[Frame], at: int) -> None:
    del sent[at]


def repeat(rng: random.Random, sent: list[Frame], at: int) -> None:
    sent[at:at] = [sent[at]] * rng.choice((1, 1, 1, 2, 60))


def move(rng: random.Random, sent: list[Frame], at: int) -> None:
    sent.insert(rng.randrange(len(sent)), sent.pop(at))


def split(rng: random.Random, sent: list[Frame], at: int) -> None:
    """Into two frames of the kind, or HEADERS and CONTINUATION."""
    one = sent[at]
    cut = rng.randrange(len(one.payload) + 1)
    first, rest = one.payload[:cut], one.payload[cut:]
    if one.kind == Kind.HEADERS:
        end = one.flags & frames.END_HEADERS
        sent[at : at + 1] = [
            Frame(Kind.HEADERS, one.flags & ~end, one.stream, first),
            Frame(Kind.CONTINUATION, end, one.stream, rest),
        ]
    else:
        sent[at : at + 1] = [
            Frame(one.kind, one.flags & ~frames.END_STREAM, one.stream, first),
            Frame(one.kind, one.flags, one.stream, rest),
        ]


def merge(_: random.Random, sent: list[Frame], at: int) -> None:
    """With the next frame, whatever that is."""
    if at + 1 < len(sent):
        one, other = sent[at], sent.pop(at + 1)
        sent[at] = Frame(one.kind, one.flags | other.flags, one.stream, one.payload + other.payload)


def lie_about_length(rng: random.Random, sent: list[Frame], at: int) -> None:
    size = len(sent[at].payload)
    sent[at] = replace(sent[at], claimed=rng.choice((max(0, size - 1), size + 1, 0, size + 9, 1 << 23)))


def other_stream(rng: random.Random, sent: list[Frame], at: int) -> None:
    stream = rng.choice((0, 1, 2, rng.choice(sent).stream, sent[at].stream + 2, frames.MAX_STREAM))
    sent[at] = replace(sent[at], stream=stream)


def other_kind(rng: random.Random, sent: list[Frame], at: int) -> None:
    sent[at] = replace(sent[at], kind=rng.choice((*Kind, 0x20)))


def other_flags(rng: random.Random, sent: list[Frame], at: int) -> None:
    sent[at] = replace(sent[at], flags=sent[at].flags ^ rng.choice((1, 4, 8, 0x20, rng.randrange(256))))


def cut_off(rng: random.Random, sent: list[Frame], at: int) -> None:
    del sent[at:]


def _setting(rng: random.Random) -> bytes:
    value = rng.choice((0, 1, 10, 16_384, 65_535, 1 << 20, frames.MAX_WINDOW, 1 << 31))
    return frames.settings(((rng.choice(tuple(SettingCodes)), value),))[frames.HEADER_BYTES :]


def control(rng: random.Random, sent: list[Frame], at: int) -> None:
    """A frame that Envoy could send, or nearly."""
    stream = rng.choice(sent).stream
    number = rng.choice((0, 1, 8, 1000, frames.MAX_WINDOW)).to_bytes(4, "big")
    sent.insert(
        at,
        rng.choice(
            (
                Frame(Kind.RST_STREAM, 0, stream, number),
                Frame(Kind.WINDOW_UPDATE, 0, rng.choice((0, stream)), number),
                Frame(Kind.SETTINGS, 0, 0, _setting(rng)),
                Frame(Kind.SETTINGS, frames.ACK, 0, b""),
                Frame(Kind.PING, rng.choice((0, 1)), 0, bytes(8)),
                Frame(Kind.PRIORITY, 0, stream, number + b"\0"),
                Frame(Kind.GOAWAY, 0, 0, bytes(8)),
                Frame(Kind.DATA, frames.PADDED, stream, b"\3abc\0\0\0"),
                Frame(Kind.DATA, frames.END_STREAM, stream, b""),
            )
        ),
    )


DAMAGES: tuple[Damage, ...] = (
    flip,
    flip_near_the_start,
    drop,
    repeat,
    move,
    split,
    merge,
    lie_about_length,
    other_stream,
    other_kind,
    other_flags,
    cut_off,
    control,
)


def damaged(rng: random.Random, sent: list[Frame]) -> int:
    """Change `sent` and say how often: a little as a rule, so that most is still understood; often, or not at all."""
    changes = rng.choice((0, 1, 1, 1, 2, 2, 3, 5, 20))
    for _ in range(changes):
        if sent:
            rng.choice(DAMAGES)(rng, sent, rng.randrange(len(sent)))
    return changes


def split_anew(rng: random.Random, sent: list[Frame]) -> Iterator[Frame]:
    """The same data in more frames."""
    for one in sent:
        rest = one
        while rest.kind == Kind.DATA and rest.payload and rng.random() < 0.5:
            cut = rng.randint(1, len(rest.payload))
            yield replace(rest, flags=0, payload=rest.payload[:cut])
            rest = replace(rest, payload=rest.payload[cut:])
        yield rest


def pieces(rng: random.Random, data: bytes) -> Iterator[bytes]:
    """`data` in reads of sizes that sockets give, and of sizes they hardly ever give."""
    longest = rng.choice((1, 7, 100, 1500, 16_384, 1 << 20))
    if longest < 100 and len(data) > 5_000:
        longest = 1500
    place = 0
    while place < len(data):
        size = rng.randint(1, longest)
        yield data[place : place + size]
        place += size
