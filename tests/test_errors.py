"""Errors of configuration as lines, and between processes."""

import pickle

import pytest

from infscale.errors import ConfigError, ConfigErrors, bare

FIRST = ConfigError("f.yaml:2", "endpoints[0].port", "expected a number")
SECOND = ConfigError("f.yaml", "", "unreadable")


@pytest.mark.parametrize(
    ("error", "text", "lines"),
    [
        (FIRST, "f.yaml:2: endpoints[0].port: expected a number", 1),
        (SECOND, "f.yaml: unreadable", 1),
        (ConfigErrors([FIRST, SECOND]), "f.yaml:2: endpoints[0].port: expected a number (and 1 more problem)", 2),
        (ConfigErrors([FIRST], 7), "f.yaml:2: endpoints[0].port: expected a number (and 7 more problems)", 2),
    ],
)
def test_one_line_says_the_first_and_how_many_more(error: ConfigError, text: str, lines: int) -> None:
    assert str(error) == text
    assert len(error.lines()) == lines


@pytest.mark.parametrize("error", [FIRST, ConfigErrors([FIRST, SECOND], 3)], ids=["one", "several"])
def test_an_error_passes_between_processes_whole(error: ConfigError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.lines(), str(again)) == (type(error), error.lines(), str(error))


def test_what_was_found_and_not_kept_is_counted() -> None:
    assert ConfigErrors([FIRST], 7).lines() == (str(FIRST), "and 7 more problems")


def test_an_error_can_be_kept_without_what_it_came_through() -> None:
    try:
        try:
            raise KeyError("read")
        except KeyError as cause:
            raise ValueError("words") from cause
    except ValueError as error:
        kept = bare(error)
    assert str(kept) == "words"
    assert (kept.__traceback__, kept.__cause__, kept.__context__) == (None, None, None)
