"""Cookies (RFC 6265): values of a name in what a client sends, and one to be set."""

import re
from hashlib import blake2b
from typing import Final

from infscale.endpoint import ObjectKey
from picker.sessions.session_settings import Cookie

MAX_SEARCHED: Final = 16_384
"""How many characters of a client's cookies are looked at."""
MAX_VALUES: Final = 4
"""How many cookies of one name are looked at."""
_BETWEEN: Final = re.compile("[;,]")


def cookie_name(cookie: Cookie, pool: ObjectKey) -> str:
    """Its name for clients of `pool`: pools behind one host have cookies of their own."""
    return f"{cookie.name}-{blake2b(str(pool).encode(), digest_size=3).hexdigest()}"


def cookie_values(sent: str | None, name: str) -> list[str]:
    """The values under `name` among the cookies that a client has `sent`, at most `MAX_VALUES`."""
    # Most requests have none of that name, and then nothing is cut.
    if sent is None or name not in sent:
        return []
    wanted, found = f"{name}=", list[str]()
    # Several headers are one list with commas here, and no value that is looked for has one in it.
    for each in _BETWEEN.split(sent[:MAX_SEARCHED]):
        each = each.strip()
        if each.startswith(wanted):
            found.append(each[len(wanted) :])
    return found[:MAX_VALUES]


def set_cookie(cookie: Cookie, name: str, text: str, seconds: float) -> bytes:
    """The value of a ``set-cookie`` header that keeps `text` for so long, out of reach of scripts."""
    parts = [f"{name}={text}", f"Path={cookie.path}", f"Max-Age={int(seconds)}", "HttpOnly"]
    if cookie.secure:
        parts.append("Secure")
    parts.append(f"SameSite={cookie.same_site}")
    return "; ".join(parts).encode()
