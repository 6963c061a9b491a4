"""Problems are collected, each once, in the order of lines, up to a limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.documents.problems import MAX_PROBLEMS, AlreadySaid, Attempt, Problems
from infscale.documents.strict_document import Field, load, whole
from infscale.errors import ConfigError, ConfigErrors


def raised(problems: Problems) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        problems.raise_any()
    return caught.value


def test_nothing_wrong_raises_nothing() -> None:
    Problems().raise_any()


def test_one_problem_is_itself_and_several_are_one_line_and_many() -> None:
    problems = Problems()
    problems.add(ConfigError("f:2", "b", "second"), 2)
    assert str(raised(problems)) == "f:2: b: second"
    problems.add(ConfigError("f:1", "a", "first"), 1)
    problems.add(ConfigError("f:1", "a", "first"), 1)
    problems.add(AlreadySaid("f:1", "a", "again"), 1)
    several = raised(problems)
    assert str(several) == "f:1: a: first (and 1 more problem)"
    assert several.lines() == ("f:1: a: first", "f:2: b: second")


def test_problems_of_problems_are_problems() -> None:
    inner, outer = Problems(), Problems()
    for number in range(MAX_PROBLEMS + 5):
        inner.add(ConfigError("f", str(number), "bad"))
    outer.add(raised(inner))
    outer.add(ConfigError("g", "", "bad"))
    assert raised(outer).lines()[-1] == "and 6 more problems"


def test_a_refused_value_is_not_there_to_be_used() -> None:
    attempt = Attempt[int]()
    assert attempt.refused
    assert attempt.or_else(3) == 3
    with pytest.raises(AlreadySaid):
        _ = attempt.value
    assert Attempt(2).value == Attempt(2).or_else(3) == 2


@given(st.lists(st.integers(-3, 3), max_size=150))
def test_reading_a_whole_finds_what_reading_each_alone_finds(numbers: list[int]) -> None:
    """No mistake hides another, and nothing is wrong with what is right."""
    document = load(f"[{', '.join(map(str, numbers))}]", "f")

    def read(root: Field) -> tuple[int, ...]:
        return root.each(lambda field: field.integer(0))

    wrong = [number for number in numbers if number < 0]
    if not wrong:
        assert whole(document, read) == tuple(numbers)
        return
    with pytest.raises(ConfigError) as caught:
        whole(document, read)
    found = caught.value.problems if isinstance(caught.value, ConfigErrors) else (caught.value,)
    unnamed = caught.value.unnamed if isinstance(caught.value, ConfigErrors) else 0
    assert len(found) + unnamed == len(wrong)


def test_a_missing_key_is_said_once_and_a_misspelt_one_not_as_missing() -> None:
    def read(root: Field) -> tuple[str, int, int]:
        parts = root.mapping(["name", "port", "weight"])
        name, port = parts["name"].attempt(Field.text), parts["port"].attempt(Field.integer)
        return name.value, port.value, parts["weight"].integer()

    with pytest.raises(ConfigErrors) as caught:
        whole(load("{nmae: a, port: x}", "f"), read)
    assert [(each.path, each.problem) for each in caught.value.problems] == [
        ("nmae", "unknown key; expected one of name, port, weight; did you mean name?"),
        ("", "key 'weight' is missing"),
        ("port", "expected a whole number, got a string"),
    ]
