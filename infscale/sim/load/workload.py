"""What the demo sends: the built-in load with shared prefixes and bursts, and the replay of a trace.

Everything is decided beforehand from one seed, down to the bytes of every body, so that two phases get the same traffic
at the same times. A token is four bytes of text; text that is shared is byte-identical.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from infscale.errors import ConfigError
from infscale.sim.load.traces import BLOCK_TOKENS, TraceRequest

if TYPE_CHECKING:
    from random import Random

BYTES_PER_TOKEN = 4

_VOCABULARY = (
    "about above after again batch below block bring build cache carry clear close cover cycle delay drain early "
    "every field first floor frame given graph group guard heavy inner input joint known layer learn least level "
    "light limit local lower match merge minor model month never night order other outer paper phase pitch place "
    "plain point power press prior proof queue quick quiet range ratio reach ready right river rough round route "
    "scale scene score serve shape share sheet short since slack small solve space spare speed split stack stage "
    "start state steel still store table thank their there these thick think three token trace trust until upper "
    "usual value watch water weigh whole"
)
_WORDS = _VOCABULARY.split()


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """One request to send, `at_seconds` after the phase starts.

    `prompt_tokens` and `output_tokens` are what it was made of; the endpoint's own count of the prompt is in its usage.
    """

    at_seconds: float
    path: str
    body: bytes
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class ChatLoad:
    """The built-in load: teams with long system prompts, users that chat in turns, arrivals in bursts.

    `rate` is requests per second on average, `seconds` how long they arrive. Each of `groups` has its own system prompt
    of `system_tokens`; its users' conversations grow by question and answer for up to `turns` turns and then start
    anew. Question and output lengths vary evenly by ±50 % around their means. Gaps between arrivals follow a gamma
    distribution with coefficient of variation `burstiness` (1 is a Poisson process).
    """

    seconds: float
    rate: float
    groups: int = 48
    users_per_group: int = 4
    system_tokens: int = 3000
    question_tokens: int = 150
    output_tokens: int = 80
    turns: int = 4
    burstiness: float = 2.0

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.rate <= 0 or self.burstiness <= 0:
            raise ConfigError("", "load", "seconds, rate and burstiness are positive")
        counts = (self.groups, self.users_per_group, self.system_tokens, self.question_tokens, self.output_tokens)
        if min(*counts, self.turns) < 1:
            raise ConfigError("", "load", "groups, users, turns and token counts are at least 1")

    def description(self) -> dict[str, object]:
        """The load as the report names it."""
        settings = asdict(self)
        arrivals = {"seconds": settings.pop("seconds"), "rate_rps": settings.pop("rate")}
        return {"kind": "built-in chat", **arrivals, **settings}


@dataclass(slots=True)
class _Conversation:
    """One user's chat so far; starts anew after the last turn."""

    messages: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    tokens: int = 0
    turns: int = 0


def arrivals(seconds: float, rate: float, burstiness: float, rng: "Random") -> list[float]:
    """``seconds · rate`` arrival times within `seconds`, in order; gaps are gamma distributed."""
    count = max(1, round(seconds * rate))
    shape = 1.0 / burstiness**2
    gaps = [rng.gammavariate(shape, 1.0) for _ in range(count + 1)]
    # The gap after the last arrival belongs to the process as well: without it every phase would end in an arrival.
    scale = seconds / (sum(gaps) or 1.0)
    times: list[float] = []
    at = 0.0
    for gap in gaps[:-1]:
        at = min(at + gap * scale, seconds)
        times.append(at)
    return times


def chat_requests(load: ChatLoad, model: str, rng: "Random") -> tuple[LoadRequest, ...]:
    """The built-in load as requests to ``/v1/chat/completions``."""
    systems = [prose(load.system_tokens, rng) for _ in range(load.groups)]
    users = [[_Conversation() for _ in range(load.users_per_group)] for _ in range(load.groups)]
    requests: list[LoadRequest] = []
    for at in arrivals(load.seconds, load.rate, load.burstiness, rng):
        group = rng.randrange(load.groups)
        chat = users[group][rng.randrange(load.users_per_group)]
        if not chat.turns or chat.turns >= load.turns:
            chat.messages, chat.turns = [{"role": "system", "content": systems[group]}], 0
            chat.tokens = load.system_tokens
        question, answer = _around(load.question_tokens, rng), _around(load.output_tokens, rng)
        chat.messages.append({"role": "user", "content": prose(question, rng)})
        chat.tokens += question
        body = _body(model, answer, "messages", chat.messages)
        requests.append(LoadRequest(at, "/v1/chat/completions", body, chat.tokens, answer))
        # The next turn quotes an answer of the right length; its words are this generator's, since a replay cannot wait
        # for the endpoint's.
        chat.messages.append({"role": "assistant", "content": prose(answer, rng)})
        chat.tokens += answer
        chat.turns += 1
    return tuple(requests)


def trace_requests(requests: Sequence[TraceRequest], model: str, rng: "Random") -> tuple[LoadRequest, ...]:
    """A trace's requests to ``/v1/completions``: equal block ids become equal text, other prompts share nothing."""
    texts: dict[int, str] = {}
    made: list[LoadRequest] = []
    for request in requests:
        for block in request.blocks:
            if block not in texts:
                texts[block] = prose(BLOCK_TOKENS, rng)
        if request.blocks:
            prompt = "".join([texts[block] for block in request.blocks])[: request.input_tokens * BYTES_PER_TOKEN]
        else:
            prompt = prose(request.input_tokens, rng)
        body = _body(model, request.output_tokens, "prompt", prompt)
        made.append(
            LoadRequest(request.at_seconds, "/v1/completions", body, request.input_tokens, request.output_tokens)
        )
    return tuple(made)


def encode_requests(requests: Sequence[LoadRequest]) -> bytes:
    """The requests as lines of JSON, for a load generator in another process."""
    return b"\n".join([orjson.dumps({**asdict(request), "body": request.body.decode()}) for request in requests])


def decode_requests(encoded: bytes) -> tuple[LoadRequest, ...]:
    """What `encode_requests` wrote."""
    rows: list[dict[str, Any]] = [orjson.loads(line) for line in encoded.splitlines()]
    return tuple(LoadRequest(**{**row, "body": row["body"].encode()}) for row in rows)


def prose(tokens: int, rng: "Random") -> str:
    """Text of exactly ``4 · tokens`` ASCII bytes that no other call repeats."""
    size = tokens * BYTES_PER_TOKEN
    words = rng.choices(_WORDS, k=size // 6 + 1)
    return f"{' '.join(words)} "[:size]


def _around(mean: int, rng: "Random") -> int:
    return max(1, round(mean * rng.uniform(0.5, 1.5)))


def _body(model: str, output_tokens: int, key: str, prompt: object) -> bytes:
    return orjson.dumps(
        {
            "model": model,
            "stream": True,
            "stream_options": {"include_usage": True},
            "max_tokens": output_tokens,
            "ignore_eos": True,
            key: prompt,
        }
    )
