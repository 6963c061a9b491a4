"""A plugin's parameters, as factories read them."""

from collections.abc import Mapping
from dataclasses import dataclass

from infscale.document import Field


@dataclass(frozen=True, slots=True)
class Given:
    """What a document says of one plugin: where it is declared, and its parameters; None without any.

    `attributes` are names of the numbers that engines' pages are read for on behalf of the document.
    """

    declared: Field
    parameters: Field | None = None
    attributes: frozenset[str] = frozenset()

    def read(self, *known: str) -> "Parameters":
        """The parameters, of which `known` are all there may be. Raises `ConfigError`."""
        return Parameters(self, *known)

    def nothing(self) -> None:
        """The plugin takes no parameters. Raises `ConfigError` where one is given."""
        Parameters(self)


class Parameters:
    """A plugin's parameters, read strictly: what a factory does not ask for is an unknown key."""

    def __init__(self, given: Given, *known: str) -> None:
        field = given.parameters
        self._place = given.declared if field is None else field
        self._found: Mapping[str, Field] = {} if field is None else field.mapping(optional=known)

    def get(self, name: str) -> Field | None:
        """The parameter's field, None where it is not given."""
        return self._found.get(name)

    def number(self, name: str, default: float, minimum: float = 0.0, maximum: float | None = None) -> float:
        """A finite number within the bounds."""
        field = self.get(name)
        return default if field is None else field.number(minimum, maximum)

    def positive(self, name: str, default: float) -> float:
        """A finite number above 0."""
        value = self.number(name, default)
        field = self.get(name)
        if field is not None and value <= 0:
            field.refuse("expected a number above 0")
        return value

    def integer(self, name: str, default: int, minimum: int = 0) -> int:
        """A whole number."""
        field = self.get(name)
        return default if field is None else field.integer(minimum)

    def boolean(self, name: str, default: bool) -> bool:
        """true or false."""
        field = self.get(name)
        return default if field is None else field.boolean()

    def seconds(self, name: str, default: float) -> float:
        """A duration above 0, in seconds."""
        field = self.get(name)
        if field is None:
            return default
        value = field.duration()
        if value <= 0:
            field.refuse("expected a duration above 0")
        return value

    def text(self, name: str, default: str) -> str:
        """A non-empty string."""
        field = self.get(name)
        return default if field is None else field.text()

    def required(self, name: str) -> Field:
        """The field of a parameter without a default."""
        field = self.get(name)
        if field is None:
            self._place.refuse(f"parameter {name!r} is missing")
        return field
