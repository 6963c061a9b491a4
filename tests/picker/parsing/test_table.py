"""Which parser a path leads to."""

from typing import Any

import pytest

from picker.parsing import DEFAULT_PARSERS, PARSER_TYPES, ParserTable
from picker.parsing.table import longest_suffix
from tests.reference_tables import TABLES

RESOLUTION = [
    (table["parsers"], path, parser) for table in TABLES["parser_path_resolution"] for path, parser in table["cases"]
]


@pytest.mark.parametrize(("parsers", "path", "parser"), RESOLUTION, ids=[case[1] for case in RESOLUTION])
def test_the_longest_claimed_suffix_wins(parsers: dict[str, list[str]], path: str, parser: str | None) -> None:
    table = {suffix: name for name, suffixes in parsers.items() for suffix in suffixes}
    assert longest_suffix(path, table) == parser


@pytest.mark.parametrize(
    ("path", "api"),
    [
        ("/v1/chat/completions", "chat_completions"),
        ("/v1/chat/completions/", "chat_completions"),
        ("/v1/chat/completions?beta=true", "chat_completions"),
        ("/v1/chat/completions/render", "chat_completions"),
        ("/v1/completions", "completions"),
        ("/v1/completions/render", "completions"),
        ("/some/prefix/v1/embeddings", "embeddings"),
        ("/v1/responses", "responses"),
        ("/v1/conversations", "conversations"),
        ("/v1/images/generations", "images"),
        ("/v1/messages", "messages"),
        ("/inference/v1/generate", "vllm_generate"),
        ("/generate", "opaque"),
        ("/v1/notcompletions", "opaque"),
        ("/v1/rerank", "opaque"),
        ("/", "opaque"),
        ("", "completions"),
    ],
)
def test_the_default_parsers_take_every_path(path: str, api: str) -> None:
    route = DEFAULT_PARSERS.route(path)
    assert route is not None
    assert route.api == api


def test_an_explicit_list_has_no_fallback() -> None:
    table = ParserTable.of(("openai-parser",))
    assert table.route("/v1/rerank") is None
    assert table.route("/v1/completions") is not None


def test_sglangs_paths_are_its_own_where_its_parser_is_named() -> None:
    table = ParserTable.of(("sglanghttp-parser", "vllmhttp-parser"))
    routes = [table.route(path) for path in ("/generate", "/inference/v1/generate", "/v1/completions")]
    assert [route and route.api for route in routes] == ["sglang_generate", "vllm_generate", None]


def test_passthrough_alone_reads_no_body() -> None:
    table = ParserTable.of(("passthrough-parser",))
    assert [table.route(path) for path in ("", "/v1/completions")] == [table.fallback, table.fallback]


def test_an_unknown_parser_is_named() -> None:
    with pytest.raises(ValueError, match="'morse-parser'; there are openai-parser"):
        ParserTable.of((*PARSER_TYPES, "morse-parser"))


def test_a_long_path_costs_no_more_than_a_short_one() -> None:
    class Counting(dict[str, str]):
        lookups = 0

        def get(self, key: str, default: Any = None) -> Any:
            self.lookups += len(key)
            return super().get(key, default)

    claims = Counting({"chat/completions": "chat"})
    assert longest_suffix("/a" * 30_000 + "/chat/completions", claims) == "chat"
    assert claims.lookups <= 17 * 17


def test_what_is_remembered_of_paths_is_bounded_and_shown_to_nobody() -> None:
    parsers = ParserTable.of(PARSER_TYPES)
    for number in range(2_000):
        route = parsers.route(f"/{number}/v1/completions?key=secret")
        assert route is not None
        assert route.api == "completions"
    assert parsers.route("/" + "x" * 10_000) == parsers.fallback
    assert "secret" not in repr(parsers)
    assert 0 < len(parsers._known) <= 256  # pyright: ignore[reportPrivateUsage] # nothing else shows what is kept
    assert parsers == ParserTable.of(PARSER_TYPES)
