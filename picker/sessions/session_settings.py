"""How requests are known to belong to one session, as a plugin's parameters say it."""

import enum
from dataclasses import dataclass, field
from typing import Final, Literal

SameSite = Literal["Lax", "Strict", "None"]

MAX_ID_BYTES: Final = 1_024
"""A session id that is longer is none."""


class Strategy(enum.StrEnum):
    """What carries a session from one request to the next."""

    SIGNED = "signed_token"
    """A token that only pickers with the same keys can make and read, in a header or a cookie."""
    ENCODED = "encoded_endpoint_header"
    """The name of the endpoint in base64, in a header: clients can read it, and choose."""
    SESSION_ID = "session_id"
    """A name that the client gives its session; this picker remembers where it is."""


@dataclass(frozen=True, slots=True)
class Cookie:
    """The cookie that carries a token: its name begins with `name`, and what browsers are told of it."""

    name: str = "infscale-session"
    path: str = "/"
    secure: bool = True
    same_site: SameSite = "Lax"


@dataclass(frozen=True, slots=True)
class Source:
    """A header (lower case), or a cookie, that may have the id of a session."""

    name: str
    cookie: bool = False


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """One kind of session.

    `header` (lower case, "" none) and `cookie` carry tokens, `keys` is the file or folder of the keys they are signed
    with. `sources` have the id of a session, the first that is not empty. A session that is not used for
    `ttl_seconds` is over. It does not leave a saturated endpoint before it was there for `min_stay_seconds`. `profile`
    names the scheduling profile whose choice is remembered; "" means the one that decides where the request goes.
    `keys_place` and `keys_path` say where a document names the keys, for errors.
    """

    strategy: Strategy
    header: str = ""
    cookie: Cookie | None = None
    keys: str = ""
    sources: tuple[Source, ...] = ()
    ttl_seconds: float = 3_600.0
    min_stay_seconds: float = 60.0
    profile: str = ""
    keys_place: str = field(default="", compare=False)
    keys_path: str = field(default="", compare=False)

    @property
    def carrier(self) -> "Carrier":
        """What carries it, and whose choice it is about: sessions are of the same kind where that is the same."""
        return self.strategy, self.header, "" if self.cookie is None else self.cookie.name, self.sources, self.profile


Carrier = tuple[Strategy, str, str, tuple[Source, ...], str]
