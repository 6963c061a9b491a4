"""The file form of sessions: where they were, and what became of them, without what clients call them.

Of a session's name only what a picker drew itself is written, which says where it goes when it moves.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np

from infscale.endpoint import Endpoint
from picker.sessions.claims import Outcome, SessionClaim
from picker.sessions.placement import NOWHERE, Past, Places, Session, Sessions
from picker.sessions.session_settings import Carrier, Cookie, SessionSettings, Source, Strategy

KINDS = "session_kinds"
PLACES = "session_places"


class SessionWriter:
    """Writes sessions of one sheet; `heads` is what they refer to, once all are written."""

    def __init__(self) -> None:
        self._kinds: dict[Carrier, int] = {}
        self._places: dict[int, tuple[int, Places]] = {}

    def heads(self) -> Mapping[str, object]:
        """The kinds of sessions and the places that were written of, by their keys in a line."""
        return {KINDS: list(map(_carrier, self._kinds)), PLACES: [_past(each) for _, each in self._places.values()]}

    def sessions(self, sessions: Sessions) -> list[list[Any]]:
        """Where the sessions of a request were."""
        return [[self._kind(kind), *self._session(session)] for kind, session in sessions.items()]

    def claims(self, claims: Sequence[SessionClaim]) -> list[list[Any]]:
        """What became of them."""
        return [[self._kind(each.settings), each.outcome, each.placed_at, each.renew, each.reason] for each in claims]

    def _kind(self, kind: SessionSettings) -> int:
        return self._kinds.setdefault(kind.carrier, len(self._kinds))

    def _session(self, session: Session) -> list[Any]:
        place, _ = self._places.setdefault(id(session.places), (len(self._places), session.places))
        name = session.name.hex() if session.settings.strategy is Strategy.SIGNED else ""
        left = None if session.left is None else [str(session.left.appeared_at), session.left.rollout]
        return [place, session.row, name, str(session.placed_at), left, session.renew]


class SessionReader:
    """Reads what a `SessionWriter` wrote of requests to `endpoints`, as sessions of `kinds` where there are such.

    Its methods raise ValueError, TypeError, KeyError or IndexError for what was not written by one.
    """

    def __init__(
        self, document: Mapping[str, Any], endpoints: Sequence[Endpoint], kinds: Sequence[SessionSettings]
    ) -> None:
        known = {each.carrier: each for each in kinds}
        read = [_kind_of(each) for each in document[KINDS]]
        self._kinds = [known.get(each.carrier, each) for each in read]
        self._places = [_places_of(each, endpoints) for each in document[PLACES]]

    def sessions(self, document: Any) -> Sessions:
        """Where the sessions of a request were."""
        found: Sessions = {}
        for number, place, row, name, placed_at, left, renew in document:
            kind, places = self._kinds[number], self._places[place]
            if not NOWHERE <= int(row) < len(places.pasts):
                raise ValueError("a session is outside the pool")
            past = None if left is None else Past(float(left[0]), str(left[1]))
            found[kind] = Session(kind, places, bytes.fromhex(name), int(row), float(placed_at), past, bool(renew))
        return found

    def claims(self, document: Any) -> tuple[SessionClaim, ...]:
        """What became of them."""
        return tuple(
            SessionClaim(self._kinds[number], b"", _outcome(outcome), int(placed_at), bool(renew), reason)
            for number, outcome, placed_at, renew, reason in document
        )


def _carrier(carrier: Carrier) -> list[Any]:
    strategy, header, cookie, sources, profile = carrier
    named = [[each.name, each.cookie] for each in sources]
    # Left out where there is none, as in lines of before.
    return [strategy.value, header, cookie, named, *([profile] if profile else ())]


def _kind_of(document: Any) -> SessionSettings:
    strategy, header, cookie, sources, *profile = document
    carried = Cookie(str(cookie)) if cookie else None
    named = tuple(Source(str(name), bool(is_cookie)) for name, is_cookie in sources)
    of_profile = "".join(map(str, profile))
    return SessionSettings(Strategy(strategy), str(header), carried, sources=named, profile=of_profile)


def _past(places: Places) -> list[Any]:
    appeared = np.array([each.appeared_at for each in places.pasts], dtype=np.float64)
    return [b64encode(appeared.tobytes()).decode(), [each.rollout for each in places.pasts]]


def _places_of(document: Any, endpoints: Sequence[Endpoint]) -> Places:
    appeared, rollouts = document
    times: list[float] = np.frombuffer(b64decode(appeared, validate=True), dtype=np.float64).tolist()
    return Places(endpoints, [Past(at, str(rollout)) for at, rollout in zip(times, rollouts, strict=True)])


def _outcome(text: str) -> Outcome:
    if text not in get_args(Outcome):
        raise ValueError("no outcome of a session")
    return text  # type: ignore[return-value] # one of them
