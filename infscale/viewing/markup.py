"""HTML as a value: elements are made here alone, so that every text in them is escaped."""

import html
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from infscale.viewing.words import shown

_VOID: Final = frozenset({"meta", "link", "input"})


@dataclass(frozen=True, slots=True)
class Markup:
    """Written HTML."""

    html: str


Content = str | Markup | Iterable["Content"]
"""Text, which is escaped, elements, or several of them."""


def element(name: str, /, *content: Content, **attributes: str) -> Markup:
    """An element; a `_` at the end of an attribute's name keeps it from being a word of Python, others are dashes."""
    pairs = "".join(f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"' for key, value in attributes.items())
    inner = "".join(_written(each) for each in content)
    return Markup(f"<{name}{pairs}>" if name in _VOID else f"<{name}{pairs}>{inner}</{name}>")


def document(*content: Content) -> bytes:
    """A whole document."""
    return f"<!doctype html>\n{element('html', *content, lang='en').html}\n".encode("utf-8", "replace")


def _written(content: Content) -> str:
    match content:
        case str():
            return html.escape(shown(content))
        case Markup():
            return content.html
        case _:
            return "".join(_written(each) for each in content)
