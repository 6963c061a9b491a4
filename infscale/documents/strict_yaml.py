"""YAML read into nodes: no tags, no aliases that grow without bound, no half characters.

LibYAML does the parsing: a file of 1 MiB would keep a Python parser, and with it every other thread, busy for many
seconds. It refuses what JSON writes for characters beyond U+FFFF, two escapes; small texts that have such escapes are
parsed by PyYAML itself.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import yaml
from yaml._yaml import CParser
from yaml.composer import Composer, ComposerError
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import Resolver
from yaml.scanner import Scanner

_MAX_VALUES = 1_000_000
_PAIR = re.compile(r"\\u[dD][89abAB]")
_MAX_PAIRED_CHARACTERS = 64 * 1024

if TYPE_CHECKING:
    _Composing = yaml.SafeLoader
else:
    _Composing = Composer


class _Strict(_Composing):
    """Refuses tags, which no file here needs, and aliases that would make a small document grow without bound.

    Lone surrogates, which JSON escapes can write and no encoding can, are refused too.
    """

    # How many values each composed node stands for, by identity: the tree keeps the nodes alive.
    _sizes: dict[int, int]

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """The next node, counted."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        is_alias = self.check_event(yaml.AliasEvent)
        if not is_alias and event.tag is not None:
            raise ComposerError(None, None, "tags are not allowed", event.start_mark)
        node = super().compose_node(parent, index)
        if node is None:
            return None
        if not is_alias:
            self._sizes[id(node)] = 1 + sum(self._sizes[id(part)] for part in _parts(node))
        elif id(node) not in self._sizes:
            raise ComposerError(None, None, "an alias may not contain itself", event.start_mark)
        if self._sizes[id(node)] > _MAX_VALUES:
            problem = f"aliases make the document larger than {_MAX_VALUES} values"
            raise ComposerError(None, None, problem, event.start_mark)
        return node

    def compose_scalar_node(self, anchor: dict[Any, yaml.Node]) -> yaml.ScalarNode:
        """The next scalar, of whole characters."""
        node = super().compose_scalar_node(anchor)
        value = str(node.value)
        if not value.isascii():
            try:
                # Two escapes that are the halves of one character, as JSON writes it, become that character.
                node.value = value.encode("utf-16", "surrogatepass").decode("utf-16")
            except UnicodeDecodeError:
                raise ComposerError(None, None, "a character escape is half of a pair", node.start_mark) from None
        return node


class _StrictResolver(Resolver):
    """What plain scalars are; JSON writes 1e5, which YAML 1.1 takes for a string."""


_StrictResolver.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?[eE][-+]?[0-9]+\Z"), list("-+0123456789")
)


class _FastLoader(_Strict, CParser, _StrictResolver):
    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        Composer.__init__(self)
        Resolver.__init__(self)
        self._sizes = {}


class _PairLoader(_Strict, Reader, Scanner, Parser, _StrictResolver):
    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        Resolver.__init__(self)
        self._sizes = {}


def _parts(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair


def compose(text: str) -> Iterator[yaml.Node]:
    """The nodes of every document in `text`. Raises `yaml.YAMLError`, ValueError, OverflowError or RecursionError."""
    paired = len(text) <= _MAX_PAIRED_CHARACTERS and _PAIR.search(text) is not None
    loader = _PairLoader(text) if paired else _FastLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield node
    finally:
        loader.dispose()
