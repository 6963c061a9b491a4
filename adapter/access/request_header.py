"""The identity a front proxy sends in headers.

Rules are those of the API server's request-header authenticator. Nothing here says whether the headers may be
believed: that is for the proxy's certificate to prove.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from multidict import MultiMapping

from adapter.access.identity import User

_ESCAPES = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*")


@dataclass(frozen=True, slots=True)
class IdentityHeaders:
    """Names of the headers that carry user names, groups and uids, and prefixes of those that carry extra values."""

    user: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    uid: tuple[str, ...] = ()
    extra_prefixes: tuple[str, ...] = ()

    def user_of(self, headers: MultiMapping[str]) -> User | None:
        """The user that `headers` (names without regard to case) claim to speak for; None if they name none."""
        name = _first(self.user, headers)
        if not name:
            return None
        groups = tuple(value for header in self.group for value in headers.getall(header, ()))
        return User(name, _first(self.uid, headers), groups, self._extra(headers))

    def any_in(self, headers: MultiMapping[str]) -> bool:
        """Whether any header that could claim a part of an identity is there, be it empty."""
        named = (*self.user, *self.group, *self.uid)
        return any(name in headers for name in named) or any(True for _ in self._extra_names(headers))

    def _extra(self, headers: MultiMapping[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
        found: dict[str, tuple[str, ...]] = {}
        for key, name in self._extra_names(headers):
            found[key] = found.get(key, ()) + tuple(headers.getall(name))
        return tuple(found.items())

    def _extra_names(self, headers: MultiMapping[str]) -> Iterable[tuple[str, str]]:
        """Extra keys and the lower-case header names they come from, each once."""
        for prefix in self.extra_prefixes:
            folded, length = prefix.lower(), len(prefix)
            for name in dict.fromkeys(name.lower() for name in headers if name[:length].lower() == folded):
                yield _unescaped(name[length:]), name


def _first(names: Iterable[str], headers: MultiMapping[str]) -> str:
    """The first value of the first header that has one; later values of a header never count."""
    return next((value for name in names if (value := headers.get(name))), "")


def _unescaped(key: str) -> str:
    """`key` without its percent escapes; one that does not decode stays as it came."""
    if "%" not in key:
        return key
    if _ESCAPES.fullmatch(key) is None:
        return key
    try:
        return unquote_to_bytes(key).decode()
    except UnicodeDecodeError:
        return key
