"""What a misspelt word was meant to be, and how much is said of what there is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.documents.suggestions import did_you_mean, nearest, short_list

WORDS = ("queue-scorer", "kv-cache-utilization-scorer", "prefix-cache-scorer", "interval_seconds", "max-score-picker")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("quue-scorer", "queue-scorer"),
        ("queue_scorer", "queue-scorer"),
        ("QueueScorer", "queue-scorer"),
        ("kv-cache-utilisation-scorer", "kv-cache-utilization-scorer"),
        ("interval", "interval_seconds"),
        ("maxScorePicker", "max-score-picker"),
    ],
)
def test_a_misspelling_is_recognised(word: str, meant: str) -> None:
    assert nearest(word, WORDS)[0] == meant
    assert did_you_mean(word, WORDS).startswith(f"; did you mean {meant}")


@pytest.mark.parametrize("word", ["", "x", "something else", "z" * 10_000])
def test_of_what_is_like_nothing_nothing_is_said(word: str) -> None:
    assert did_you_mean(word, WORDS) == ""


def test_many_options_are_the_nearest_of_them_and_their_number() -> None:
    options = [f"option-{number}" for number in range(60)] + ["colour"]
    listed = short_list(options, "color")
    assert listed.startswith("colour, option-")
    assert listed.endswith(" … (61 in all)")
    assert listed.count(", ") == 9


def test_few_options_are_all_of_them_in_their_order() -> None:
    assert short_list(["b", "a"], "a") == "b, a"


@given(st.text(), st.lists(st.text(min_size=1), max_size=20))
def test_only_options_are_meant(word: str, options: list[str]) -> None:
    assert set(nearest(word, options)) <= set(options)
