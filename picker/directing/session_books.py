"""The sessions of one pool: which of them a request belongs to, and what becomes of them by a choice.

Tokens keep what is known of a session with its client. Here is only what lets requests that do not know of a move yet
find the session where it went, and what endpoints were that have left.
"""

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from infscale.endpoint import Endpoint, ObjectKey
from infscale.metrics.snapshot import PoolSnapshot
from picker.directing.director_books import DirectorStats
from picker.request import Headers
from picker.scheduling.plugin import SchedulingContext
from picker.scheduling.profile import Selection
from picker.sessions.bindings import Bindings
from picker.sessions.claims import SessionClaim
from picker.sessions.cookies import cookie_name, cookie_values, set_cookie
from picker.sessions.moves import MoveReason, why_moved
from picker.sessions.placement import NO_SESSIONS, NOWHERE, Past, Places, Session, Sessions
from picker.sessions.session_settings import MAX_ID_BYTES, SessionSettings, Source, Strategy
from picker.sessions.session_tokens import SESSION_BYTES, Token, TokenKeys, endpoint_mark

if TYPE_CHECKING:
    from random import Random

Items = tuple[tuple[str, bytes], ...]
_Life = tuple[str, str, str]
MAX_MOVED: Final = 16_384
"""How many sessions are remembered that moved."""
MAX_LEFT: Final = 1_024
"""How many endpoints are remembered that left."""
_BEFORE: Final = float("-inf")
NO_OTHERS: Final[Mapping[str, Endpoint | None]] = {}
"""Everything of a request is done at its destination."""


class PoolSessions:
    """Looks sessions up, books where they are placed, and says what clients are told of it. For one thread.

    `kinds` are all kinds of sessions there are, `keys` those of signed ones by the name of their file. `wall` is the
    time of the day; without it, or without keys, signed tokens are neither read nor made.
    """

    def __init__(
        self, pool: ObjectKey, stats: DirectorStats, rng: "Random", wall: Callable[[], float] | None = None
    ) -> None:
        self._pool = pool
        self._stats = stats
        self._rng = rng
        self._wall = wall
        self.kinds: tuple[SessionSettings, ...] = ()
        self._keys: Mapping[str, TokenKeys] = {}
        self._cookies: dict[SessionSettings, str] = {}
        self._bindings: dict[SessionSettings, Bindings] = {}
        # Where sessions went, and since when: clients may not know it yet.
        self._moved: OrderedDict[bytes, tuple[bytes, int]] = OrderedDict()
        self._endpoints: tuple[Endpoint, ...] = ()
        self._places = Places((), ())
        self._pasts: dict[_Life, Past] = {}
        self._left: OrderedDict[bytes, Past] = OrderedDict()
        # Why something that the request of the moment sent was worth nothing.
        self._worthless: dict[SessionSettings, str] = {}
        # Of a session that may begin with the request of the moment.
        self._next_name: bytes | None = None

    def configure(self, kinds: tuple[SessionSettings, ...], keys: Mapping[str, TokenKeys]) -> None:
        """Go by `kinds` and `keys` from now on; what is known of sessions of a kind that stays is kept."""
        self.kinds = kinds
        self._keys = keys
        self._cookies = {kind: cookie_name(kind.cookie, self._pool) for kind in kinds if kind.cookie is not None}
        self._bindings = {
            kind: self._bindings.get(kind) or Bindings(kind.ttl_seconds)
            for kind in kinds
            if kind.strategy is Strategy.SESSION_ID
        }

    def of(self, headers: Headers, snapshot: PoolSnapshot, now: float) -> Sessions:
        """The sessions that a request with these headers belongs to, of each kind at most one."""
        if not self.kinds:
            return NO_SESSIONS
        if self._worthless:
            self._worthless = {}
        self._follow(snapshot.endpoints, now)
        found: Sessions = {}
        for kind in self.kinds:
            session = self._look_up(kind, headers, now)
            if session is not None:
                found[kind] = session
        return found or NO_SESSIONS

    def name_of(self, headers: Headers, now: float) -> bytes | None:
        """The name of the session of a request with these headers, also of one that begins with it; None: it has none.

        What begins gets this name when it is placed, unless another request is asked about first.
        """
        for kind in self.kinds:
            match kind.strategy:
                case Strategy.SESSION_ID:
                    name = self._id(kind, headers)
                    if name is not None:
                        return name
                case Strategy.SIGNED if self._can_tell(kind):
                    session = self._signed(kind, headers, now)
                    if session is not None:
                        return session.name
                    if self._next_name is None:
                        self._next_name = self._rng.randbytes(SESSION_BYTES)
                    return self._next_name
                case _:
                    pass
        return None

    def placed(self, context: SchedulingContext, selection: Selection) -> tuple[Items, tuple[SessionClaim, ...]]:
        """Book that the first choice of `selection` gets the request: the headers of its response, and the claims.

        It is the one whose sessions were looked up last. A kind that names the profile of another stage is about the
        endpoint that has that.
        """
        if not self.kinds:
            return (), ()
        now, endpoints = context.now, context.snapshot.endpoints
        items: list[tuple[str, bytes]] = []
        claims: list[SessionClaim] = []
        refused = self._stats.session_tokens_refused
        for reason in self._worthless.values():
            refused[reason] = refused.get(reason, 0) + 1
        for kind in self.kinds:
            chosen = selection if not kind.profile else selection.of_profile(kind.profile)
            claim = None if chosen is None else self._claim(kind, context, chosen)
            if chosen is None or claim is None:
                continue
            row = chosen.chosen[0]
            endpoint, mark = endpoints[row], self._places.marks[row]
            requests = self._stats.session_requests
            requests[claim.outcome] = requests.get(claim.outcome, 0) + 1
            self._book(claim, endpoint, mark, now)
            items += self._told(claim, endpoint, mark)
            claims.append(claim)
        return tuple(items), tuple(claims)

    def rerouted(
        self,
        claims: tuple[SessionClaim, ...],
        endpoint: Endpoint,
        now: float,
        others: Mapping[str, Endpoint | None] = NO_OTHERS,
    ) -> tuple[Items, tuple[SessionClaim, ...]]:
        """As `placed`, where the gateway went on to `endpoint` instead.

        `others` are the endpoints of stages that are done elsewhere, by the profiles that chose them: they stay. One
        that has left is None.
        """
        items: list[tuple[str, bytes]] = []
        moved: list[SessionClaim] = []
        mark = endpoint_mark(str(endpoint.key))
        for claim in claims:
            if claim.settings.profile in others:
                other = others[claim.settings.profile]
                if other is not None:
                    items += self._told(claim, other, endpoint_mark(str(other.key)))
                moved.append(claim)
                continue
            reason = claim.reason
            if claim.outcome == "kept":
                reason = self._moved_by(MoveReason.REROUTED)
            claim = replace(claim, outcome="moved", placed_at=self._seconds(), reason=reason)
            self._book(claim, endpoint, mark, now)
            items += self._told(claim, endpoint, mark)
            moved.append(claim)
        return tuple(items), tuple(moved)

    # Looking up

    def _follow(self, endpoints: tuple[Endpoint, ...], now: float) -> None:
        """Remember when endpoints appear, and of those that leave what they were."""
        if endpoints is self._endpoints:
            return
        before, appeared_at = self._pasts, now if self._endpoints else _BEFORE
        pasts = tuple(before.get(_life(each)) or Past.of(each, appeared_at) for each in endpoints)
        self._pasts = dict(zip(map(_life, endpoints), pasts, strict=True))
        self._endpoints = endpoints
        self._places = Places(endpoints, pasts)
        for (name, _, _), past in before.items():
            mark = endpoint_mark(name)
            if mark not in self._places.rows:
                self._left[mark] = past
        while len(self._left) > MAX_LEFT:
            self._left.popitem(last=False)

    def _look_up(self, kind: SessionSettings, headers: Headers, now: float) -> Session | None:
        match kind.strategy:
            case Strategy.SIGNED:
                return self._signed(kind, headers, now)
            case Strategy.ENCODED:
                return self._encoded(kind, headers)
            case Strategy.SESSION_ID:
                name = self._id(kind, headers)
                bound = None if name is None else self._bindings[kind].get(name, now)
                if name is None or bound is None:
                    return None
                return self._session(kind, name, endpoint_mark(str(bound[0])), bound[1])

    def _signed(self, kind: SessionSettings, headers: Headers, now: float) -> Session | None:
        """The session of the first token of a request that is worth something."""
        keys = self._keys.get(kind.keys)
        if keys is None or self._wall is None:
            return None
        wall = self._wall()
        for text in self._tokens(kind, headers):
            token = keys.open(self._pool, text, wall)
            if not isinstance(token, Token):
                self._worthless[kind] = token
                continue
            endpoint, placed_at = token.endpoint, token.placed_at
            renew = token.old_key or 2 * (token.expires_at - wall) < kind.ttl_seconds
            moved = self._moved.get(token.session)
            if moved is not None and moved[1] >= placed_at and moved[0] != endpoint:
                (endpoint, placed_at), renew = moved, True
            return self._session(kind, token.session, endpoint, placed_at - wall + now, renew=renew)
        return None

    def _tokens(self, kind: SessionSettings, headers: Headers) -> list[str]:
        text = headers.single(kind.header) if kind.header else None
        found = [text] if text else []
        if kind.cookie is not None:
            found += cookie_values(headers.get("cookie"), self._cookies[kind])
        return found

    def _encoded(self, kind: SessionSettings, headers: Headers) -> Session | None:
        text = headers.single(kind.header)
        if not text or len(text) > MAX_ID_BYTES:
            return None
        try:
            name = b64decode(text, validate=True).decode()
        except (NotBase64, ValueError):
            self._worthless[kind] = "malformed"
            return None
        mark = endpoint_mark(name)
        if mark not in self._places.rows and mark not in self._left:
            self._worthless[kind] = "unknown_endpoint"
            return None
        return self._session(kind, b"", mark, _BEFORE)

    def _id(self, kind: SessionSettings, headers: Headers) -> bytes | None:
        """The digest of a session's id, by the first source that has one."""
        for source in kind.sources:
            text = _said(source, headers)
            if text and len(text) <= MAX_ID_BYTES:
                return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        return None

    def _session(
        self, kind: SessionSettings, name: bytes, mark: bytes, placed_at: float, *, renew: bool = False
    ) -> Session:
        row = self._places.rows.get(mark, NOWHERE)
        past = self._left.get(mark) if row == NOWHERE else self._places.pasts[row]
        return Session(kind, self._places, name, row, placed_at, past, renew)

    # Booking

    def _claim(self, kind: SessionSettings, context: SchedulingContext, selection: Selection) -> SessionClaim | None:
        """What a request claims of its session of this kind; None: it has none, or none that it decides about."""
        if not self._can_tell(kind):
            return None
        session, row, snapshot = context.sessions.get(kind), selection.chosen[0], context.snapshot
        if session is None:
            name = self._new_name(kind, context.request.headers)
            worthless = self._worthless.get(kind)
            return None if name is None else SessionClaim(kind, name, "new", self._seconds(), reason=worthless)
        if session.row == row:
            since = 0 if self._wall is None else self._wall() - (context.now - session.placed_at)
            return SessionClaim(kind, session.name, "kept", round(max(0.0, since)), session.renew)
        if kind.strategy is Strategy.SESSION_ID and session.row in selection.rows:
            # As the reference has it: a session leaves what it is bound to only where that cannot be had.
            return None
        reason = self._moved_by(why_moved(session, snapshot, selection.rows, context.now))
        return SessionClaim(kind, session.name, "moved", self._seconds(), reason=reason)

    def _can_tell(self, kind: SessionSettings) -> bool:
        return kind.strategy is not Strategy.SIGNED or (self._wall is not None and kind.keys in self._keys)

    def _new_name(self, kind: SessionSettings, headers: Headers) -> bytes | None:
        match kind.strategy:
            case Strategy.SIGNED:
                name, self._next_name = self._next_name, None
                return name or self._rng.randbytes(SESSION_BYTES)
            case Strategy.ENCODED:
                return b""
            case Strategy.SESSION_ID:
                return self._id(kind, headers)

    def _book(self, claim: SessionClaim, endpoint: Endpoint, mark: bytes, now: float) -> None:
        kind = claim.settings
        bindings = self._bindings.get(kind)
        if bindings is not None:
            bindings.bind(claim.name, endpoint.key, now)
            self._stats.session_bindings = sum(map(len, self._bindings.values()))
        elif kind.strategy is Strategy.SIGNED and claim.outcome == "moved":
            self._moved[claim.name] = mark, claim.placed_at
            self._moved.move_to_end(claim.name)
            if len(self._moved) > MAX_MOVED:
                self._moved.popitem(last=False)

    def _told(self, claim: SessionClaim, endpoint: Endpoint, mark: bytes) -> list[tuple[str, bytes]]:
        """What the client is told in headers of the response."""
        kind = claim.settings
        if kind.strategy is Strategy.ENCODED:
            return [(kind.header, b64encode(str(endpoint.key).encode()))]
        keys = self._keys.get(kind.keys)
        by_cookie = kind.cookie is not None and (claim.outcome != "kept" or claim.renew)
        if kind.strategy is not Strategy.SIGNED or keys is None or not (kind.header or by_cookie):
            return []
        expires_at = self._seconds() + int(kind.ttl_seconds)
        text = keys.seal(self._pool, Token(mark, claim.name, claim.placed_at, expires_at))
        told = [(kind.header, text.encode())] if kind.header else []
        if kind.cookie is not None and by_cookie:
            told.append(("set-cookie", set_cookie(kind.cookie, self._cookies[kind], text, kind.ttl_seconds)))
        return told

    def _seconds(self) -> int:
        return 0 if self._wall is None else int(self._wall())

    def _moved_by(self, reason: MoveReason) -> str:
        """A session has moved for `reason`, which is counted."""
        moves = self._stats.session_moves
        moves[reason.value] = moves.get(reason.value, 0) + 1
        return reason.value


def _life(endpoint: Endpoint) -> _Life:
    """What is another for another pod of a name, and for another start of its container."""
    return str(endpoint.key), endpoint.authority, endpoint.incarnation


def _said(source: Source, headers: Headers) -> str:
    if not source.cookie:
        return (headers.get(source.name) or "").strip()
    return next(filter(None, map(str.strip, cookie_values(headers.get("cookie"), source.name))), "")
