"""Work in steps, between which the caller can let others in: long work beside decisions and answers."""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Steps = Generator[None, None, T]
"""It yields where others may be let in, and returns its result."""


def result_of(steps: Steps[T]) -> T:
    """The result of `steps`, taken in one go."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result
