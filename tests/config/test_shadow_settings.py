"""Of which requests a candidate gets copies, as the configuration file writes it."""

from pathlib import Path

import pytest

from infscale.config.read import read_config
from infscale.config.shadow_settings import SIDE_EFFECT_FIELDS, ShadowSettings, SkipSettings, shadow_settings
from infscale.documents.strict_document import Plain, from_plain
from infscale.endpoint import ObjectKey
from infscale.errors import ConfigError

CHAT, NEXT = ObjectKey("llm", "chat"), ObjectKey("llm", "next")


def test_each_pool_has_its_candidates() -> None:
    read = shadow_settings(
        from_plain(
            {
                "llm/chat": [
                    {"pool": "llm/next", "share": 0.1},
                    {
                        "share": 0.2,
                        "model": "llama-v2",
                        "pod_labels": {"version": "2"},
                        "max_requests": 4,
                        "max_share": 0.5,
                        "max_bytes": 1_000,
                        "max_request_bytes": 500,
                        "timeout_seconds": 7,
                        "session_header": "X-Chat",
                        "headers": ["Authorization"],
                        "allow_fields": ["tools"],
                        "skip": {"headers": {"X-Tier": ["gold"]}, "paths": ["/v1/completions"], "fields": ["webhook"]},
                        "scheme": "https",
                    },
                ]
            },
            "f",
        )
    )
    skip = SkipSettings({"x-tier": ("gold",)}, ("/v1/completions",), ("webhook",))
    expected = ShadowSettings(
        *(0.2, None, "llama-v2", {"version": "2"}, 4, 0.5, 1_000, 500, 7.0),
        *("x-chat", ("authorization",), ("tools",), skip, "https"),
    )
    assert read == {CHAT: (ShadowSettings(0.1, NEXT), expected)}
    assert expected.marking_fields == (*(each for each in SIDE_EFFECT_FIELDS if each != "tools"), "webhook")


OTHER = {"pool": "llm/next", "share": 0.1}


@pytest.mark.parametrize(
    ("candidates", "problem"),
    [
        ([], "expected 1 to 8 candidates"),
        ([OTHER] * 9, "expected 1 to 8 candidates"),
        ([{"pool": "llm/next"}], "share"),
        ([OTHER | {"share": 0}], "more than 0"),
        ([OTHER | {"share": 0.6}] * 2, "the shares add up to 1.2"),
        ([{"share": 0.1}], "a candidate is something else"),
        ([{"share": 0.1, "pool": "llm/chat"}], "a candidate is something else"),
        ([OTHER | {"max_requests": 0}], "1"),
        ([OTHER | {"max_request_bytes": 2 << 20}], "1048576"),
        ([OTHER | {"timeout_seconds": 0}], "more than 0"),
        ([OTHER | {"timeout_seconds": 4_000}], "at most 3600"),
        ([OTHER | {"headers": ["Host"]}], "does not go along"),
        ([OTHER | {"headers": ["a b"]}], "the name of a header"),
        ([OTHER | {"session_header": "a:b"}], "the name of a header"),
        ([OTHER | {"allow_fields": ["tool"]}], "tools"),
        ([OTHER | {"skip": {"paths": ["v1"]}}], "a path"),
        ([OTHER | {"skip": {"headers": {"a b": []}}}], "the name of a header"),
        ([OTHER | {"model": "m" * 129}], "at most 128"),
        ([OTHER | {"scheme": "ftp"}], "http"),
        ([OTHER | {"shares": 1}], "shares"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(candidates: list[Plain], problem: str) -> None:
    with pytest.raises(ConfigError, match="llm/chat") as refused:
        shadow_settings(from_plain({"llm/chat": candidates}, "f"))
    assert problem in str(refused.value)


def test_the_file_has_it_under_the_picker() -> None:
    picker: Plain = {"shadow": {"llm/chat": [{"pool": "llm/next", "share": 0.1}]}}
    read = read_config(from_plain({"discovery": {"file": "d.yaml"}, "picker": picker}, "f"), Path())
    assert read.picker.shadow == {CHAT: (ShadowSettings(0.1, NEXT),)}
