"""What goes into an engine and what comes out: settings, requests, step plans and step outcomes."""

import enum
from dataclasses import fields
from typing import Any

from infscale.frozen_values import value


@value
class EngineSettings:
    """Limits of an engine. `speed` above 1 makes steps shorter by that factor.

    `max_waiting` None: the queue is unbounded. `max_loras` is how many LoRA adapters one batch can mix; loading one
    into a slot prolongs the step by `lora_load_seconds`. No step is taken before `startup_seconds` have passed.
    """

    num_blocks: int
    block_size: int = 16
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 8192
    max_waiting: int | None = None
    max_loras: int = 4
    lora_load_seconds: float = 0.1
    startup_seconds: float = 0.0
    speed: float = 1.0

    def __post_init__(self) -> None:
        counts = (self.num_blocks, self.block_size, self.max_num_seqs, self.max_loras)
        if min(counts) < 1:
            raise ValueError("num_blocks, block_size, max_num_seqs and max_loras are at least 1")
        if self.max_num_batched_tokens < self.max_num_seqs:
            raise ValueError("max_num_batched_tokens is at least max_num_seqs: every sequence decodes one token a step")
        if self.speed <= 0 or self.lora_load_seconds < 0 or self.startup_seconds < 0:
            raise ValueError("speed is positive, load and start-up seconds are not negative")
        if self.max_waiting is not None and self.max_waiting < 0:
            raise ValueError("max_waiting is not negative")

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is pickled where it is compiled, too."""
        return EngineSettings, tuple([getattr(self, each.name) for each in fields(self)])

    @property
    def capacity_tokens(self) -> int:
        """Tokens the KV cache holds; one request's prompt and output together must fit."""
        return self.num_blocks * self.block_size


@value
class EngineRequest:
    """What the engine has to know of a request.

    `block_hashes` are the chained hashes of the prompt's full blocks (may be empty: then nothing is shared). Exactly
    `output_tokens` tokens are generated. `lora` is the adapter's name, None for the base model.
    """

    id: int
    prompt_tokens: int
    output_tokens: int
    block_hashes: tuple[int, ...] = ()
    lora: str | None = None

    def __post_init__(self) -> None:
        if self.prompt_tokens < 1 or self.output_tokens < 1:
            raise ValueError("prompt and output are at least one token")

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is pickled where it is compiled, too."""
        return EngineRequest, (self.id, self.prompt_tokens, self.output_tokens, self.block_hashes, self.lora)


class Refusal(enum.Enum):
    """Why a request was not taken."""

    QUEUE_FULL = "queue full"
    TOO_LONG = "prompt and output exceed the KV cache"


@value
class StepPlan:
    """A step about to run: how long it takes, and what it does."""

    seconds: float
    prefill_tokens: int
    decode_tokens: int
    kv_tokens: int
    sequences: int


@value
class FinishedRequest:
    """A request that got all its tokens; times on the driver's clock, `cached_tokens` came from the prefix cache."""

    request: EngineRequest
    arrived_at: float
    scheduled_at: float
    first_token_at: float
    finished_at: float
    cached_tokens: int
    preemptions: int


@value
class StepOutcome:
    """What a finished step produced.

    `tokens` names every request that got one token, `first_tokens` those that got their first, `first_token_seconds`
    their times to first token. `decode_tokens` of the tokens came `decode_interval_seconds` after their predecessor;
    tokens after a recompute are listed with their own gap in `recompute_gap_seconds`. `admitted_tokens` and
    `cached_tokens` are the prompt tokens looked up in the prefix cache and found there, by first admissions.
    """

    plan: StepPlan
    tokens: tuple[int, ...]
    decode_tokens: int
    decode_interval_seconds: float
    first_token_seconds: tuple[float, ...]
    recompute_gap_seconds: tuple[float, ...]
    finished: tuple[FinishedRequest, ...]
    preempted: int
    admitted_tokens: int
    cached_tokens: int
    first_tokens: tuple[int, ...] = ()
