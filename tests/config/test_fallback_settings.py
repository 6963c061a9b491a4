"""Where requests go that their pool cannot serve, as the configuration file writes it."""

from pathlib import Path

import pytest

from infscale.config.fallback_settings import FallbackSettings, fallback_settings
from infscale.config.read import read_config
from infscale.documents.strict_document import Plain, from_plain
from infscale.endpoint import ObjectKey
from infscale.errors import ConfigError

CHAT, STANDBY = ObjectKey("llm", "chat"), ObjectKey("llm", "standby")


def test_each_pool_has_its_list_in_the_order_in_which_it_is_tried() -> None:
    read = fallback_settings(
        from_plain(
            {
                "llm/chat": [
                    {"pool": "llm/standby", "after_seconds": 2, "max_share": 0.5},
                    {"model": "tiny", "models": ["big", "bigger"], "max_requests": 20},
                ]
            },
            "f",
        )
    )
    assert read == {
        CHAT: (
            FallbackSettings(STANDBY, after_seconds=2.0, max_share=0.5),
            FallbackSettings(None, "tiny", ("big", "bigger"), max_requests=20),
        )
    }


@pytest.mark.parametrize(
    ("targets", "problem"),
    [
        ([], "expected 1 to 8 places"),
        ([{"pool": "llm/standby"}] * 9, "expected 1 to 8 places"),
        ([{"pool": "llm/standby"}] * 2, "this place is in the list already"),
        ([{}], "expected another pool than llm/chat, or another model"),
        ([{"pool": "llm/chat"}], "expected another pool than llm/chat, or another model"),
        ([{"pool": "standby"}], "standby"),
        ([{"model": 'a"b'}], "visible characters of ASCII"),
        ([{"model": "ä"}], "visible characters of ASCII"),
        ([{"model": "m" * 129}], "at most 128"),
        ([{"model": "m", "max_share": 1.5}], "1"),
        ([{"model": "m", "max_requests": 0}], "1"),
        ([{"model": "m", "after": 1}], "after"),
    ],
)
def test_lists_that_cannot_be_are_refused_with_their_place(targets: list[Plain], problem: str) -> None:
    with pytest.raises(ConfigError, match="llm/chat") as refused:
        fallback_settings(from_plain({"llm/chat": targets}, "f"))
    assert problem in str(refused.value)


def test_a_time_is_for_requests_that_wait() -> None:
    picker: Plain = {
        "fallback": {"llm/chat": [{"model": "m", "after_seconds": 1}]},
        "flow_control": {"enabled": False},
    }
    with pytest.raises(ConfigError, match=r"picker\.fallback.*flow_control\.enabled is false"):
        read_config(from_plain({"discovery": {"file": "x"}, "picker": picker}, "f"), Path())
