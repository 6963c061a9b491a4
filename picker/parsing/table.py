"""Which parser reads the body behind a path: the longest suffix claimed by a configured parser wins."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar
from urllib.parse import unquote

from picker.request import Api, Framing

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Route:
    """How the body behind a path is read.

    `names_model`: the API requires a model in the body. `generates`: an answer means that the engine made tokens.
    `framing`: whose gRPC messages it is made of; None: it is no gRPC.
    """

    api: Api
    names_model: bool = True
    generates: bool = True
    framing: Framing | None = None


_REMEMBERED_PATHS: Final = 256
_REMEMBERED_LENGTH: Final = 256

OPAQUE: Final = Route("opaque", names_model=False, generates=False)

_CLAIMS: Final[Mapping[str, Mapping[str, Route]]] = {
    "openai-parser": {
        "chat/completions": Route("chat_completions"),
        "chat/completions/render": Route("chat_completions", generates=False),
        "completions": Route("completions"),
        "completions/render": Route("completions", generates=False),
        "embeddings": Route("embeddings", generates=False),
        "responses": Route("responses"),
        "conversations": Route("conversations", names_model=False, generates=False),
        "images/generations": Route("images", generates=False),
    },
    "anthropic-parser": {"messages": Route("messages"), "messages/count_tokens": Route("messages", generates=False)},
    "vllmhttp-parser": {"inference/v1/generate": Route("vllm_generate", names_model=False)},
    "sglanghttp-parser": {"generate": Route("sglang_generate", names_model=False)},
    "vllmgrpc-parser": {
        "vllm.grpc.engine.VllmEngine/Generate": Route("completions", names_model=False, framing="vllm"),
        "vllm.grpc.engine.VllmEngine/Embed": Route("embeddings", names_model=False, generates=False, framing="vllm"),
        # What the service has besides: any endpoint answers it, and there is nothing to read in it.
        **dict.fromkeys(
            (
                f"vllm.grpc.engine.VllmEngine/{method}"
                for method in ("HealthCheck", "Abort", "GetModelInfo", "GetServerInfo")
            ),
            OPAQUE,
        ),
    },
    "vertexai-parser": {
        "PredictionService/ChatCompletions": Route("chat_completions", names_model=False, framing="vertex")
    },
    "passthrough-parser": {},
}

PARSER_TYPES: Final = tuple(_CLAIMS)
DEFAULT_TYPES: Final = ("openai-parser", "anthropic-parser", "vllmhttp-parser", "passthrough-parser")
"""What reads bodies where nothing is configured. ``generate`` is too common an end of a path to be SGLang's unasked."""


@dataclass(frozen=True, slots=True)
class ParserTable:
    """Suffixes and the routes they lead to; `fallback` takes every other path, None refuses it.

    `unnamed` is the route of a request whose path the gateway does not send.
    """

    suffixes: Mapping[str, Route]
    fallback: Route | None
    unnamed: Route
    _known: dict[str, Route | None] = field(
        default_factory=dict[str, Route | None], init=False, compare=False, repr=False
    )

    @classmethod
    def of(cls, parsers: tuple[str, ...]) -> "ParserTable":
        """The table of the configured parser types; ValueError names a type that does not exist.

        An explicit list without the pass-through parser has no fallback, as in the reference picker.
        """
        unknown = [parser for parser in parsers if parser not in _CLAIMS]
        if unknown:
            raise ValueError(f"there is no parser {unknown[0]!r}; there are {', '.join(PARSER_TYPES)}")
        suffixes = {suffix: route for parser in parsers for suffix, route in _CLAIMS[parser].items()}
        fallback = OPAQUE if "passthrough-parser" in parsers else None
        return cls(suffixes, fallback, suffixes.get("completions") or next(iter(suffixes.values()), OPAQUE))

    def route(self, path: str) -> Route | None:
        """The route of `path` (a request target, query and trailing slash included); None: no parser takes it."""
        if not path:
            return self.unnamed
        bare = path.partition("?")[0]
        if "%" in bare:
            # Servers decode it before they look for what answers.
            bare = unquote(bare)
        # Clients send few paths, over and over.
        if bare in self._known:
            return self._known[bare]
        found = longest_suffix(bare, self.suffixes) or self.fallback
        if len(bare) <= _REMEMBERED_LENGTH:
            if len(self._known) >= _REMEMBERED_PATHS:
                self._known.clear()
            self._known[bare] = found
        return found


def longest_suffix(path: str, table: Mapping[str, T]) -> T | None:
    """What `table` holds for the longest suffix of `path` that starts a segment (after ``/``, or ``.`` for gRPC)."""
    bare = path.rstrip("/")
    # Clients choose the path: no more of it is tried than could match.
    longest = max(map(len, table), default=0)
    for start in range(max(0, len(bare) - longest), len(bare)):
        if start == 0 or bare[start - 1] in "/.":
            found = table.get(bare[start:])
            if found is not None:
                return found
    return None


DEFAULT_PARSERS: Final = ParserTable.of(DEFAULT_TYPES)
