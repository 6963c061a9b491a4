"""What a request's text is made of, and what the picker and the engine read of it, without a JSON body between them."""

from typing import TYPE_CHECKING, NamedTuple

import orjson

from infscale.sim.engine.block_hashes import block_hashes
from infscale.sim.load.texts import BYTES_PER_TOKEN, Texts

if TYPE_CHECKING:
    from random import Random


class Piece(NamedTuple):
    """A part of a prompt: the first `tokens` tokens of the text that `key` stands for.

    `role` is whose message of a chat it is; empty in a plain prompt, whose pieces follow one another without a gap.
    """

    role: str
    key: int
    tokens: int


Pieces = tuple[Piece, ...]


class Prompts:
    """Renders the pieces of prompts; `rng` decides their words."""

    def __init__(self, rng: "Random") -> None:
        self._text = Texts(rng).text

    def picker_prompt(self, pieces: Pieces) -> bytes:
        """The bytes in which the picker's parser sees such a prompt."""
        text = self._text
        if pieces[0].role:
            return b"\n".join([b"%s\n%s" % (role.encode(), text(key, tokens)) for role, key, tokens in pieces])
        return b"".join([text(key, tokens) for _, key, tokens in pieces])

    def engine_prompt(self, pieces: Pieces) -> bytes:
        """The bytes that the simulated server makes of it, with its chat template."""
        text = self._text
        if pieces[0].role:
            return b"".join([b"<|%s|>\n%s\n" % (role.encode(), text(key, tokens)) for role, key, tokens in pieces])
        return b"".join([text(key, tokens) for _, key, tokens in pieces])

    def block_hashes(self, pieces: Pieces, root: str, block_tokens: int) -> tuple[int, ...]:
        """Hashes of the full blocks of the engine's prompt, as the simulated server makes them of the body."""
        return block_hashes(self.engine_prompt(pieces), block_tokens * BYTES_PER_TOKEN, root)

    def body(self, pieces: Pieces, model: str, max_tokens: int | None) -> bytes:
        """The request as a client sends it, which wants a stream and its usage, and exactly `max_tokens` tokens."""
        text = self._text
        content: object
        if pieces[0].role:
            key = "messages"
            content = [{"role": role, "content": text(key, tokens).decode()} for role, key, tokens in pieces]
        else:
            key, content = "prompt", self.picker_prompt(pieces).decode()
        limits = {} if max_tokens is None else {"max_tokens": max_tokens, "ignore_eos": True}
        options = {"stream": True, "stream_options": {"include_usage": True}}
        return orjson.dumps({"model": model, **options, **limits, key: content})


def picker_tokens(pieces: Pieces) -> int:
    """How many tokens the picker's parser estimates."""
    return _tokens(pieces, 2, -1)


def engine_tokens(pieces: Pieces) -> int:
    """How many tokens the simulated server counts."""
    return _tokens(pieces, 6, 0)


def _tokens(pieces: Pieces, bytes_per_role: int, bytes_more: int) -> int:
    """Tokens of the text and, in a chat, of the names of roles and what is written around each and all of them."""
    size = sum([tokens for _, _, tokens in pieces]) * BYTES_PER_TOKEN
    if pieces[0].role:
        size += sum([len(role) + bytes_per_role for role, _, _ in pieces]) + bytes_more
    return -(-size // BYTES_PER_TOKEN)
