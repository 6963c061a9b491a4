"""Errors of the core.

InfscaleError
├── ConfigError         the user's configuration is wrong: says the file, the line, the path and the expected form
│   └── ConfigErrors    several problems of configuration at once
├── SelectorError       a label selector does not parse
├── SeveralModels       a metric selector picks models whose values have no common meaning
├── QuantityError       a Kubernetes quantity does not parse
├── ExpositionError     a metrics page is not what it claims to be (truncated, malformed, oversized)
├── FormulaError        the formula of a metric does not parse, or reads what is not published
└── StartError          a part could not start (port taken, Envoy missing): says what and what next
"""

from collections.abc import Sequence
from typing import Any, TypeVar

ErrorT = TypeVar("ErrorT", bound=BaseException)


class InfscaleError(Exception):
    """Base of every error this project raises on purpose."""


class ConfigError(InfscaleError):
    """A configuration is unusable.

    `place` is where (``file:line``), `path` which key (``endpoints[2].port``), `problem` what is expected there.
    """

    def __init__(self, place: str, path: str, problem: str) -> None:
        self.place = place
        self.path = path
        self.problem = problem
        super().__init__(": ".join(part for part in (place, path, problem) if part))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.place, self.path, self.problem)

    def lines(self) -> tuple[str, ...]:
        """Each problem in a line of its own."""
        return (str(self),)


class ConfigErrors(ConfigError):
    """Several problems of configuration, in the order they are to be read.

    As text it is one line, for logs and conditions: the first problem and how many others there are. `unnamed` is how
    many were found and not kept.
    """

    def __init__(self, problems: Sequence[ConfigError], unnamed: int = 0) -> None:
        first = problems[0]
        self.problems = tuple(problems)
        self.unnamed = unnamed
        others = len(problems) - 1 + unnamed
        super().__init__(first.place, first.path, f"{first.problem} (and {others} more problem{'s' * (others > 1)})")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems, self.unnamed)

    def lines(self) -> tuple[str, ...]:
        """Each problem in a line of its own."""
        lines = tuple(line for each in self.problems for line in each.lines())
        return (*lines, f"and {self.unnamed} more problems") if self.unnamed else lines


class SelectorError(InfscaleError):
    """A label selector does not parse."""


class SeveralModels(InfscaleError):
    """A metric selector picks `count` models where a value is of one model or of all."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(f"{count} models are picked, a value is of one or of all")


class QuantityError(InfscaleError):
    """A Kubernetes quantity does not parse or cannot be expressed."""


class ExpositionError(InfscaleError):
    """A metrics page is malformed, truncated or too large; nothing of it may be used."""


class FormulaError(InfscaleError):
    """A formula metric is unusable; the message says where in the formula, and what is expected there."""


class StartError(InfscaleError):
    """A part cannot start; the message says what is missing or taken and what to do about it."""


def bare(error: ErrorT) -> ErrorT:
    """`error` without its trace and the errors it was made of: for one that is kept, or passed to another thread.

    They hold the frames that it came through, and so what was read there, often in cycles that are collected seldom.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
