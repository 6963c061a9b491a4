"""A plugin's parameters, as factories read them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import partial
from pathlib import Path
from typing import TypeVar

from infscale.documents.strict_document import Field
from picker.scheduling.stages import Decider
from picker.sessions.session_settings import Source

T = TypeVar("T")
Word = TypeVar("Word", bound=str)


@dataclass(frozen=True, slots=True)
class Given:
    """What a document says of one plugin: where it is declared, and its parameters; None without any.

    `attributes` are names of the numbers that engines' pages are read for on behalf of the document,
    `request_attributes` names for what identifies the session of a request. `name` is the plugin's, `deciders` are
    those that profile handlers may name, and `refused` the names of plugins that are not there because they are wrong.
    """

    declared: Field
    parameters: Field | None = None
    attributes: frozenset[str] = frozenset()
    request_attributes: Mapping[str, tuple[Source, ...]] = dataclass_field(
        default_factory=dict[str, tuple[Source, ...]]
    )
    name: str = ""
    deciders: Mapping[str, Decider] = dataclass_field(default_factory=dict[str, Decider])
    refused: frozenset[str] = frozenset()

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

    def get_as(self, name: str, read: Callable[[Field], T], default: T) -> T:
        """What `read` makes of the parameter, `default` where it is not given."""
        field = self.get(name)
        return default if field is None else field.attempt(read).or_else(default)

    def number(self, name: str, default: float, minimum: float = 0.0, maximum: float | None = None) -> float:
        """A finite number within the bounds."""
        return self.get_as(name, lambda field: field.number(minimum, maximum), default)

    def positive(self, name: str, default: float) -> float:
        """A finite number above 0."""
        return self.get_as(name, positive, default)

    def integer(self, name: str, default: int, minimum: int = 0) -> int:
        """A whole number."""
        return self.get_as(name, lambda field: field.integer(minimum), default)

    def boolean(self, name: str, default: bool) -> bool:
        """true or false."""
        return self.get_as(name, Field.boolean, default)

    def seconds(self, name: str, default: float) -> float:
        """A duration above 0, in seconds."""
        return self.get_as(name, positive_duration, default)

    def text(self, name: str, default: str) -> str:
        """A non-empty string."""
        return self.get_as(name, Field.text, default)

    def one_of(self, name: str, names: Iterable[Word], default: Word) -> Word:
        """One of `names`."""
        return self.get_as(name, partial(one_of, names), default)

    def required(self, name: str) -> Field:
        """The field of a parameter without a default."""
        field = self.get(name)
        if field is None:
            self._place.report(f"parameter {name!r} is missing")
            return self._place.absent(name)
        return field


def positive(field: Field) -> float:
    """A finite number above 0."""
    value = field.number(0.0)
    if value <= 0:
        field.refuse("expected a number above 0")
    return value


def positive_duration(field: Field) -> float:
    """A duration above 0, in seconds."""
    value = field.duration()
    if value <= 0:
        field.refuse("expected a duration above 0")
    return value


def one_of(names: Iterable[Word], field: Field) -> Word:
    """The one of `names` that is the word in `field`."""
    found = {str(name): name for name in names}
    return found[field.choice(tuple(found))]


def file_path(field: Field) -> Path:
    """The path of a file."""
    text = field.text()
    if "\0" in text:
        field.refuse("expected the path of a file")
    return Path(text)


def note(field: Field, text: str) -> str:
    """A line for the start-up log about what stands in `field`."""
    return f"{field.place}: {field.path}: {text}"


def plain(build: Callable[[], T], *ignored: str) -> Callable[[Given], T]:
    """The factory of what takes no parameters but those `ignored`, which change nothing."""

    def without_parameters(given: Given) -> T:
        given.read(*ignored)
        return build()

    return without_parameters
