"""YAML documents read strictly: every value knows its file, line and path, so that errors can say where.

A reader asks a `Field` for what it expects (`text`, `integer`, `mapping` …) and gets our types or a `ConfigError`
naming the place and the expected form. Unknown and duplicate keys are errors. JSON is YAML, and `from_plain` makes the
same fields of data that is already decoded, such as objects from a Kubernetes API server.

The first mistake ends the reading, unless it is `whole`: then what is wrong is collected, reading goes on where it can
(`Field.attempt`, `Field.each`, `Field.report`, keys of a `Field.mapping`), and all of it is raised in the end.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Never, TypeVar

import yaml
from yaml.reader import ReaderError

from infscale.documents.problems import AlreadySaid, Attempt, EnoughError, Problems
from infscale.documents.strict_yaml import compose
from infscale.documents.suggestions import did_you_mean, nearest, short_list
from infscale.errors import ConfigError

_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
# YAML 1.1 reads 010 as 8, 0x10 as 16 and 1:30 as 90; people do not, so only plain decimals are numbers here.
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9_]*)")
_NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9][0-9_]*)(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?")
_NUMBER_DIGITS = 64
_DURATION_CHARACTERS = 64
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")
_QUOTE_LIMIT = 60
_DURATION_FORM = "a duration such as 200ms, 30s or 1m30s"

_TAG = "tag:yaml.org,2002:"
_NULL, _STR, _BOOL, _INT, _FLOAT, _TIMESTAMP = (
    _TAG + kind for kind in ("null", "str", "bool", "int", "float", "timestamp")
)
_KINDS = {
    _STR: "a string",
    _INT: "a number",
    _FLOAT: "a number",
    _BOOL: "a boolean",
    _NULL: "nothing",
    _TIMESTAMP: "a date",
}

_ABSENT = "absent"
"""The tag of what stands for a missing key where problems are collected."""

T = TypeVar("T")

Plain = str | int | float | bool | None | list["Plain"] | dict[str, "Plain"]


def quoted(text: str) -> str:
    """`text` in quotes on one line, cut where it is long: what an error message may repeat of it."""
    return repr(text if len(text) <= _QUOTE_LIMIT else text[:_QUOTE_LIMIT] + "…")


def seconds_of_duration(text: str) -> float | None:
    """The seconds of a Go-style duration without a sign, such as ``200ms``, ``1m30s`` or ``0``; None: it is none."""
    if text == "0":
        return 0.0
    parts = _DURATION_PART.findall(text) if len(text) <= _DURATION_CHARACTERS else []
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return float(sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts))


@dataclass(frozen=True, slots=True)
class Field:
    """One value of a document with its place.

    `strict` is the document's rule for unknown keys: refused, because a person wrote them, or let pass, because an API
    server newer than this reader did. `problems` collects what is wrong with the document; None: the first mistake is
    raised.
    """

    node: yaml.Node
    source: str
    path: str
    strict: bool = True
    problems: Problems | None = None

    @property
    def place(self) -> str:
        """``file:line``, or the source alone where the value never was text."""
        return f"{self.source}:{self.line}" if self.line else self.source

    @property
    def line(self) -> int:
        """The line of the document, from 1; 0 where the value never was text."""
        mark: yaml.Mark | None = self.node.start_mark
        return 0 if mark is None else int(mark.line) + 1

    def refuse(self, problem: str) -> Never:
        """Raise the `ConfigError` that says `problem` about this value."""
        if self.node.tag == _ABSENT:
            raise AlreadySaid(self.place, self.path, problem)
        raise ConfigError(self.place, self.path, problem)

    def refuse_word(self, word: str, options: Sequence[str]) -> Never:
        """As `refuse`, of a `word` that is none of `options`."""
        listed, meant = self._hints(word, options, options)
        self.refuse(f"expected one of {listed}, got {quoted(word)}{meant}")

    def _hints(self, word: str, options: Sequence[str], free: Sequence[str]) -> tuple[str, str]:
        """Which `options` there are, and which of those `free` was meant."""
        if self.problems is not None and self.problems.full:
            # Problems beyond those that are kept are not shown.
            return "others", ""
        return short_list(options, word) or "none", did_you_mean(word, free)

    def report(self, problem: str) -> None:
        """As `refuse`, but go on where problems are collected."""
        self._collect(ConfigError(self.place, self.path, problem))

    def attempt(self, read: Callable[["Field"], T]) -> Attempt[T]:
        """What `read` makes of this value; where problems are collected, a refused one ends nothing yet."""
        try:
            return Attempt(read(self))
        except ConfigError as error:
            self._collect(error)
            return Attempt()

    def _collect(self, error: ConfigError) -> None:
        if self.problems is None:
            raise error
        self.problems.add(error, self.line)
        if self.problems.enough:
            raise EnoughError

    def _part(self, node: yaml.Node, path: str) -> "Field":
        return Field(node, self.source, path, self.strict, self.problems)

    @property
    def is_null(self) -> bool:
        """Whether the value is an explicit null or left empty."""
        return self.node.tag == _NULL

    @property
    def is_text(self) -> bool:
        """Whether the value is a string, for readers that also take another form."""
        return self.node.tag == _STR

    def _scalar(self, tags: Sequence[str], expected: str) -> str:
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag not in tags:
            self.refuse(f"expected {expected}, got {_kind(self.node)}")
        return str(self.node.value)

    def text(self, *, empty: bool = False, form: str = "") -> str:
        """A string; numbers and booleans are refused rather than guessed at. Empty only where allowed.

        `form` is what the string has to look like, for the words of the refusal.
        """
        if form:
            value = self._scalar([_STR], form)
        elif isinstance(self.node, yaml.ScalarNode) and self.node.tag in {_INT, _FLOAT, _BOOL, _TIMESTAMP}:
            self.refuse(f"expected a string, got {_kind(self.node)}; put it in quotes")
        else:
            value = self._scalar([_STR], "a string")
        if not value and not empty:
            self.refuse(f"expected {form}, got an empty string" if form else "expected a non-empty string")
        return value

    def choice(self, options: Sequence[str]) -> str:
        """One of `options`."""
        value = self.text(empty=True)
        if value not in options:
            self.refuse_word(value, options)
        return value

    def integer(self, minimum: int | None = None, maximum: int | None = None) -> int:
        """A whole number within the bounds."""
        value = self._scalar([_INT], "a whole number").strip()
        if not _INTEGER.fullmatch(value) or len(value) > _NUMBER_DIGITS:
            self.refuse(f"expected a whole number in plain decimal, got {quoted(value)}")
        number = int(value)
        self._check_bounds(number, minimum, maximum)
        return number

    def number(self, minimum: float | None = None, maximum: float | None = None) -> float:
        """A finite number within the bounds."""
        value = self._scalar([_INT, _FLOAT], "a number").strip()
        if not _NUMBER.fullmatch(value) or len(value) > _NUMBER_DIGITS:
            self.refuse(f"expected a finite number in plain decimal, got {quoted(value)}")
        number = float(value.replace("_", ""))
        if not math.isfinite(number):
            self.refuse("expected a finite number")
        self._check_bounds(number, minimum, maximum)
        return number

    def _check_bounds(self, value: float, minimum: float | None, maximum: float | None) -> None:
        if minimum is not None and value < minimum:
            self.refuse(f"expected at least {_shown(minimum)}, got {_shown(value)}")
        if maximum is not None and value > maximum:
            self.refuse(f"expected at most {_shown(maximum)}, got {_shown(value)}")

    def boolean(self) -> bool:
        """``true`` or ``false``."""
        return _BOOLEANS[self._scalar([_BOOL], "true or false").lower()]

    def duration(self, minimum: float = 0.0) -> float:
        """Seconds from a Go-style duration: ``200ms``, ``1m30s``."""
        value = self.text(form=_DURATION_FORM)
        seconds = seconds_of_duration(value)
        if seconds is None:
            self.refuse(f"expected {_DURATION_FORM}, got {quoted(value)}")
        self._check_bounds(seconds, minimum, None)
        return seconds

    def timestamp(self) -> str:
        """A moment in RFC 3339, given back in UTC in the one form that sorts by time: ``2026-01-31T12:00:00Z``."""
        value = self._scalar([_STR, _TIMESTAMP], "a time")
        try:
            moment = datetime.fromisoformat(value)
            # A moment at the calendar's end has no equivalent in UTC.
            utc = None if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            utc = None
        if utc is None:
            self.refuse(f"expected a time such as 2026-01-31T12:00:00Z, got {quoted(value)}")
        return utc.replace(microsecond=0, tzinfo=None).isoformat() + "Z"

    def items(self) -> tuple["Field", ...]:
        """The elements of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            self.refuse(f"expected a list, got {_kind(self.node)}")
        return tuple(self._part(node, f"{self.path}[{i}]") for i, node in enumerate(self.node.value))

    def each(self, read: Callable[["Field"], T]) -> tuple[T, ...]:
        """What `read` makes of the elements of a list; where problems are collected, without those refused."""
        attempts = [item.attempt(read) for item in self.items()]
        return tuple(one.value for one in attempts if not one.refused)

    def entries(self) -> dict[str, "Field"]:
        """A mapping with free keys, each a string and given once."""
        if not isinstance(self.node, yaml.MappingNode):
            self.refuse(f"expected a mapping, got {_kind(self.node)}")
        found: dict[str, Field] = {}
        for key_node, value_node in self.node.value:
            key_field = self._part(key_node, self.path)
            if not isinstance(key_node, yaml.ScalarNode):
                key_field.report("expected a string as key")
                continue
            key = str(key_node.value)
            if key in found:
                key_field.report(f"key {quoted(key)} is given twice")
                continue
            found[key] = self._part(value_node, _child(self.path, key))
        return found

    def keys(self) -> frozenset[str]:
        """The keys of a mapping, whatever is wrong with it; none of anything else."""
        pairs = self.node.value if isinstance(self.node, yaml.MappingNode) else ()
        return frozenset(str(key.value) for key, _ in pairs if isinstance(key, yaml.ScalarNode))

    def mapping(self, required: Sequence[str] = (), optional: Sequence[str] = ()) -> dict[str, "Field"]:
        """A mapping with exactly these keys; null values of optional keys count as absent.

        Where problems are collected, a missing key is there as a field of which nothing can be read.
        """
        found = self.entries()
        known = [*required, *optional]
        meant = self._report_unknown(found, known) if self.strict else frozenset[str]()
        for key in required:
            if key not in found:
                # A key that is misspelt has been said in another way.
                if key not in meant:
                    self.report(f"key {quoted(key)} is missing")
                found[key] = self.absent(key)
        return {
            key: value for key, value in found.items() if key in required or (key in optional and not value.is_null)
        }

    def absent(self, key: str) -> "Field":
        """What stands for a missing `key` of this mapping, where that is reported: nothing can be read of it."""
        return self._part(yaml.ScalarNode(_ABSENT, "", self.node.start_mark), _child(self.path, key))

    def _report_unknown(self, found: dict[str, "Field"], known: Sequence[str]) -> frozenset[str]:
        """Report keys that are not among `known`; what they were probably meant to be."""
        meant: set[str] = set()
        for key, value in found.items():
            if key in known:
                continue
            free = [each for each in known if each not in found]
            if self.problems is None or not self.problems.full:
                meant.update(nearest(key, free))
            listed, likely = self._hints(key, sorted(known), free)
            value.report(f"unknown key; expected one of {listed}{likely}")
        return frozenset(meant)

    def text_mapping(self) -> dict[str, str]:
        """A mapping of strings to strings, such as labels."""
        attempts = {key: value.attempt(lambda each: each.text(empty=True)) for key, value in self.entries().items()}
        return {key: one.value for key, one in attempts.items() if not one.refused}

    def plain(self) -> Plain:
        """The value as plain Python data, for parts that another schema owns."""
        if isinstance(self.node, yaml.SequenceNode):
            return [item.plain() for item in self.items()]
        if isinstance(self.node, yaml.MappingNode):
            return {key: value.plain() for key, value in self.entries().items()}
        if self.node.tag in _SCALARS:
            return _SCALARS[self.node.tag](self)
        return None if self.is_null else str(self.node.value)


_SCALARS: Mapping[str, Callable[[Field], Plain]] = {_INT: Field.integer, _FLOAT: Field.number, _BOOL: Field.boolean}


def attempted(parts: Mapping[str, Field], key: str, read: Callable[[Field], T], default: T) -> Attempt[T]:
    """What `read` makes of the value of `key`, as `Field.attempt`; `default` where it is not given."""
    field = parts.get(key)
    return Attempt(default) if field is None else field.attempt(read)


def whole(root: Field, read: Callable[[Field], T]) -> T:
    """What `read` makes of `root`. Raises `ConfigErrors` with all that is wrong, where it is more than one thing."""
    problems = Problems()
    try:
        value = replace(root, problems=problems).attempt(read)
    except EnoughError:
        value = Attempt()
    problems.raise_any()
    return value.value


def read_whole(text: str, source: str, read: Callable[[Field], T]) -> T:
    """What `read` makes of the one document in `text`, as `whole`; of the document itself nothing is kept.

    Beside a loop that answers others, a large document has to be let go of bit by bit: freed at once, it would keep
    every other thread waiting.
    """
    root = load(text, source)
    try:
        return whole(root, read)
    finally:
        _let_go(root.node)


def _let_go(root: yaml.Node) -> None:
    left = [root]
    while left:
        parts = left.pop().value
        while isinstance(parts, list) and parts:
            part = parts.pop()
            left.extend(part if isinstance(part, tuple) else (part,))


def _child(path: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{quoted(key)}]"
    return f"{path}.{key}" if path else key


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.12g}"


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    return _KINDS.get(node.tag, "a value of another type")


def from_plain(value: Plain, source: str, *, strict: bool = True) -> Field:
    """The root of data that is already decoded; its places are `source` alone, without a line."""
    return Field(_node(value), source, "", strict)


def _node(value: Plain) -> yaml.Node:
    if isinstance(value, dict):
        pairs = [(yaml.ScalarNode(_STR, key), _node(item)) for key, item in value.items()]
        return yaml.MappingNode(_TAG + "map", pairs)
    if isinstance(value, list):
        return yaml.SequenceNode(_TAG + "seq", [_node(item) for item in value])
    if value is None:
        return yaml.ScalarNode(_NULL, "")
    if isinstance(value, bool):
        return yaml.ScalarNode(_BOOL, "true" if value else "false")
    if isinstance(value, str):
        return yaml.ScalarNode(_STR, value)
    return yaml.ScalarNode(_INT if isinstance(value, int) else _FLOAT, repr(value))


def load(text: str, source: str) -> Field:
    """The root of the one document in `text`; `source` is the file name that errors show."""
    documents = load_all(text, source)
    if len(documents) != 1:
        raise ConfigError(source, "", f"expected one YAML document, found {len(documents)}")
    return documents[0]


def load_all(text: str, source: str) -> tuple[Field, ...]:
    """The roots of every non-empty document in `text`."""
    try:
        nodes = list(compose(text))
    except yaml.MarkedYAMLError as error:
        # The end of the text stands below its last line.
        last = text.count("\n") + (not text.endswith("\n"))
        line = min(error.problem_mark.line + 1, last) if error.problem_mark else 1
        raise ConfigError(f"{source}:{line}", "", f"not valid YAML: {error.problem or 'malformed'}") from error
    except ReaderError as error:
        # Where bytes stand, of the text as UTF-8.
        line = text.encode(errors="surrogatepass").count(b"\n", 0, error.position) + 1
        problem = f"not valid YAML: {error.reason or 'a character that is not allowed'}"
        raise ConfigError(f"{source}:{line}", "", problem) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML lets some errors of its conversions through: character escapes and version numbers beyond any range.
        problem = next(iter(str(error).splitlines()), "malformed")
        raise ConfigError(source, "", f"not valid YAML: {problem}") from error
    except RecursionError as error:
        raise ConfigError(source, "", "not valid YAML: nested too deeply") from error
    return tuple(Field(node, source, "") for node in nodes if node.tag != _NULL)
