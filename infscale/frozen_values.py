"""Values that are made for every request and never changed.

Some are written out instead, with `Final` fields: `@dataclass(slots=True, unsafe_hash=True, init=False)` and an
`__init__` of its own. A request makes them, or a piece of a body, in modules that are compiled (see `setup.py`). The
compiler turns that into a few stores: 50 ns, where a `value` of two fields takes 190, one of twelve 350, and each look
at a field 15 more. It knows no other decorator by name and leaves what `dataclass` generates as it is. What a scrape
makes is not written out.
"""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """A dataclass with slots that type checkers hold to be frozen, equal and hashed by its fields.

    A frozen dataclass checks at run time as well, and so takes five times as long to make: each field of it is set
    through `object.__setattr__`.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


@dataclass_transform(frozen_default=True, eq_default=False)
def entity(cls: type[T]) -> type[T]:
    """As `value`, but equal only to itself: for what holds arrays."""
    return dataclass(slots=True, eq=False)(cls)
