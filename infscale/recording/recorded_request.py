"""Requests as they are recorded, one line of JSON each, to be played again in simulation: nothing of their content.

The first line of a file says its version and when it begins. A prompt is told by a digest of each of its beginnings,
keyed with a secret of the file that is written nowhere: equal digests of one file are equal beginnings, and nothing can
be learned by guessing a prompt. Beginnings end after 32 blocks of 64 tokens (of four bytes), 32 of 128, and so on.
"""

import hashlib
from base64 import b64decode, b64encode
from binascii import Error
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import orjson

from infscale.errors import ConfigError

VERSION: Final = 1
VERSION_KEY: Final = "infscale_recording"
MODEL_CHARACTERS: Final = 128
"""How much of a model's name is kept."""

_BYTES_PER_TOKEN: Final = 4
_FIRST_BLOCK_TOKENS: Final = 64
_BLOCKS_PER_SIZE: Final = 32
_DIGEST_BYTES: Final = 6
_MAX_TOKENS: Final = 10_000_000
_MAX_SECONDS: Final = 1e9


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One request, `at_seconds` after its file begins (a little before that where the file before was full meanwhile).

    `priority` is that of its objective. `prompt_tokens` are what the engine counted, else the picker's estimate;
    `output_tokens` are None where answers do not pass through the picker. `limit` is the most that the request asked
    for. `prefixes` are digests of the prompt's beginnings. `end` is how it ended: completed, aborted, error, or refused
    with HTTP `status`. `lora`: an endpoint said by then that `model` is a LoRA adapter; where none had said so, it may
    be one as well.
    """

    at_seconds: float
    model: str
    priority: int
    prompt_tokens: int
    output_tokens: int | None
    limit: int | None
    prefixes: tuple[int, ...]
    end: str
    status: int | None
    lora: bool = False

    def line(self) -> bytes:
        """Its line in a file."""
        digests = b"".join([each.to_bytes(_DIGEST_BYTES, "big") for each in self.prefixes])
        document = {
            "at": round(self.at_seconds, 4),
            "model": self.model[:MODEL_CHARACTERS],
            "lora": self.lora,
            "priority": self.priority,
            "prompt_tokens": self.prompt_tokens,
            "output_tokens": self.output_tokens,
            "limit": self.limit,
            "end": self.end,
            "status": self.status,
            "prefixes": b64encode(digests).decode(),
        }
        return orjson.dumps(document) + b"\n"


def header_line(began: str) -> bytes:
    """The first line of a file that begins at the time `began`."""
    return orjson.dumps({VERSION_KEY: VERSION, "began": began}) + b"\n"


def check_header(header: dict[str, object], place: str) -> None:
    """Raises `ConfigError` where the first line of a file is not of this version."""
    if header.get(VERSION_KEY) != VERSION:
        raise ConfigError(place, VERSION_KEY, f"expected {VERSION}, which this program reads")


def read_line(row: dict[str, object], place: str) -> RecordedRequest:
    """What `row`, the JSON of a line, says. Raises `ConfigError` that names `place` and what is expected there."""
    output, limit, status = row.get("output_tokens"), row.get("limit"), row.get("status")
    return RecordedRequest(
        _number(row.get("at"), place, "at"),
        _text(row.get("model"), place, "model"),
        _whole(row.get("priority"), place, "priority", -_MAX_TOKENS * 1000),
        _whole(row.get("prompt_tokens"), place, "prompt_tokens", 0),
        None if output is None else _whole(output, place, "output_tokens", 0),
        None if limit is None else _whole(limit, place, "limit", 0),
        _prefixes(row.get("prefixes"), place),
        _text(row.get("end"), place, "end"),
        None if status is None else _whole(status, place, "status", 0),
        # Not there in the lines of earlier versions.
        _flag(row.get("lora", False), place, "lora"),
    )


@lru_cache(512)
def block_tokens(count: int) -> tuple[int, ...]:
    """The tokens of the first `count` blocks, after each of which a beginning ends."""
    return tuple(_FIRST_BLOCK_TOKENS << number // _BLOCKS_PER_SIZE for number in range(count))


class PrefixDigests:
    """Digests of beginnings of prompts, keyed with `secret` (at most 64 bytes)."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of(self, root: str, prompt: bytes) -> tuple[int, ...]:
        """The digests of `prompt`; `root` separates what is not shared: the model, a cache's salt."""
        running = hashlib.blake2b(root.encode(), digest_size=_DIGEST_BYTES, key=self._secret)
        digests: list[int] = []
        size, end = _FIRST_BLOCK_TOKENS * _BYTES_PER_TOKEN, 0
        # Of a view, so that blocks are not copied.
        view = memoryview(prompt)
        while end + size <= len(prompt):
            running.update(view[end : end + size])
            end += size
            digests.append(int.from_bytes(running.copy().digest(), "big"))
            if not len(digests) % _BLOCKS_PER_SIZE:
                size *= 2
        return tuple(digests)


def _prefixes(value: object, place: str) -> tuple[int, ...]:
    try:
        data = b64decode(_text(value, place, "prefixes"), validate=True)
    except (Error, ValueError):
        raise ConfigError(place, "prefixes", "expected base64") from None
    if len(data) % _DIGEST_BYTES:
        raise ConfigError(place, "prefixes", f"expected digests of {_DIGEST_BYTES} bytes each")
    return tuple(int.from_bytes(data[at : at + _DIGEST_BYTES], "big") for at in range(0, len(data), _DIGEST_BYTES))


def _number(value: object, place: str, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _MAX_SECONDS:
        raise ConfigError(place, path, "expected a number of seconds")
    return float(value)


def _whole(value: object, place: str, path: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MAX_TOKENS * 1000:
        raise ConfigError(place, path, f"expected a whole number, at least {least}")
    return value


def _flag(value: object, place: str, path: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(place, path, "expected true or false")
    return value


def _text(value: object, place: str, path: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(place, path, "expected a text")
    return value
