"""Values of JSON documents of unknown shape, read without errors: what is absent, or of another type, is empty."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import cast

from infscale.endpoint import ObjectKey
from infscale.errors import QuantityError, SelectorError
from infscale.labels import Selector
from infscale.quantity import milli_value, parse_quantity

MAX_TEXT = 4_096
"""Characters that are read of a text."""
MAX_ITEMS = 2_000
"""Items that are read of a list or mapping."""

_MAX_NUMBER = 2**53


@dataclass(frozen=True, slots=True)
class Json:
    """A value of a document; None also where there is none."""

    value: object = None

    def at(self, *path: str) -> "Json":
        """The value at the end of a path of keys."""
        found = self.value
        for key in path:
            found = cast("dict[str, object]", found).get(key) if isinstance(found, dict) else None
        return Json(found)

    @property
    def is_there(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    def text(self, default: str = "") -> str:
        """A text."""
        return self.value[:MAX_TEXT] if isinstance(self.value, str) else default

    def whole(self, default: int = 0) -> int:
        """A whole number of ordinary size."""
        found = self.whole_or_none()
        return default if found is None else found

    def whole_or_none(self) -> int | None:
        """A whole number of ordinary size; None: it is none."""
        usable = isinstance(self.value, int) and not isinstance(self.value, bool) and abs(self.value) < _MAX_NUMBER
        return cast("int", self.value) if usable else None

    def truth(self) -> bool:
        """Whether it is true; what is no boolean is not."""
        return self.value is True

    def quantity(self) -> Decimal | None:
        """A quantity, as text or number."""
        if isinstance(self.value, bool) or not isinstance(self.value, str | int | float):
            return None
        try:
            return parse_quantity(str(self.value))
        except QuantityError:
            return None

    def milli(self) -> int | None:
        """A quantity in thousandths."""
        found = self.quantity()
        return None if found is None else milli_value(found)

    def seconds(self) -> float | None:
        """Unix seconds of a Kubernetes time."""
        try:
            return datetime.fromisoformat(self.text()).timestamp()
        except (ValueError, OverflowError):
            return None

    def items(self) -> tuple["Json", ...]:
        """The elements of a list."""
        found = cast("list[object]", self.value)[:MAX_ITEMS] if isinstance(self.value, list) else ()
        return tuple(Json(each) for each in found)

    def entries(self) -> Iterator[tuple[str, "Json"]]:
        """Keys and values of a mapping."""
        if isinstance(self.value, dict):
            for _, (key, value) in zip(range(MAX_ITEMS), cast("dict[str, object]", self.value).items(), strict=False):
                yield key, Json(value)

    def texts(self) -> Mapping[str, str]:
        """The entries of a mapping that are texts, such as labels."""
        return {key: each.text() for key, each in self.entries() if isinstance(each.value, str)}

    def key(self) -> ObjectKey:
        """The identity of an object."""
        return ObjectKey(self.at("metadata", "namespace").text(), self.at("metadata", "name").text())

    def selector(self) -> Selector | None:
        """A `LabelSelector`; None for what is none. Without requirements it matches everything."""
        expressions = [
            (each.at("key").text(), each.at("operator").text(), [value.text() for value in each.at("values").items()])
            for each in self.at("matchExpressions").items()
        ]
        try:
            return Selector.from_label_selector(self.at("matchLabels").texts(), expressions)
        except SelectorError:
            return None

    def controller(self) -> tuple[str, str] | None:
        """Kind and name of the owner that controls an object."""
        owners = self.at("metadata", "ownerReferences").items()
        found = (each for each in owners if each.at("controller").truth())
        return next(((each.at("kind").text(), each.at("name").text()) for each in found), None)
