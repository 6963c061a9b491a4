"""Requests for virtual time: everything about them is known, and their text is made when it is asked for."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

from infscale.sim.load.prompts import Pieces, Prompts, engine_tokens, picker_tokens


class RequestClass(StrEnum):
    """What a request is for: an answer that a person waits for, or work that only has to be done."""

    INTERACTIVE = "interactive"
    BATCH = "batch"


@dataclass(frozen=True, slots=True)
class VirtualRequest:
    """One request, `at_seconds` after the start of its stream.

    `number` is its own within the stream. `model` is what its body names, and `lora` the same where that is a LoRA
    adapter. Exactly `output_tokens` tokens are generated; `max_output_tokens` is the limit that the body states, None
    where it states none. Turns of one conversation have one `session`, and count from 0. `tenant` is whose it is by
    the gateway, None: it does not say.
    """

    number: int
    at_seconds: float
    pieces: Pieces
    output_tokens: int
    model: str
    lora: str | None = None
    max_output_tokens: int | None = None
    request_class: RequestClass = RequestClass.INTERACTIVE
    session: int | None = None
    turn: int = 0
    tenant: str | None = None
    prompts: Prompts = field(kw_only=True, repr=False, compare=False)

    @property
    def api(self) -> Literal["chat_completions", "completions"]:
        """Which API of the picker's parser it is for."""
        return "chat_completions" if self.pieces[0].role else "completions"

    @property
    def path(self) -> str:
        """The path it is sent to."""
        return "/v1/chat/completions" if self.pieces[0].role else "/v1/completions"

    def prompt(self) -> bytes:
        """The prompt as the picker's parser gives it; new bytes with each call."""
        return self.prompts.picker_prompt(self.pieces)

    @property
    def prompt_tokens(self) -> int:
        """Length of the prompt as the picker's parser estimates it."""
        return picker_tokens(self.pieces)

    @property
    def engine_prompt_tokens(self) -> int:
        """Length of the prompt as the simulated server counts it, its chat template included."""
        return engine_tokens(self.pieces)

    def block_hashes(self, block_tokens: int) -> tuple[int, ...]:
        """The engine's hashes of the prompt's full blocks."""
        return self.prompts.block_hashes(self.pieces, self.lora or "", block_tokens)

    def body(self) -> bytes:
        """The body that a client sends; for real servers."""
        return self.prompts.body(self.pieces, self.model, self.max_output_tokens)


class RequestStream(Protocol):
    """The requests of one run, for one use: made one after the other, as time passes."""

    def arriving(self) -> Iterator[VirtualRequest]:
        """Requests that come whatever becomes of others, in order of arrival."""
        ...

    def next(self, ended: VirtualRequest, at_seconds: float) -> VirtualRequest | None:
        """The request that follows because the answer to `ended` was whole at `at_seconds`, not before that; or none.

        Called at most once for each request, in order of time.
        """
        ...


class OpenStream:
    """A stream in which no request waits for an answer."""

    def __init__(self, requests: Iterator[VirtualRequest]) -> None:
        self._requests = requests

    def arriving(self) -> Iterator[VirtualRequest]:
        """See `RequestStream`."""
        return self._requests

    def next(self, ended: VirtualRequest, at_seconds: float) -> VirtualRequest | None:
        """See `RequestStream`; always none."""
        return None
