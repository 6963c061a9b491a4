"""What became of the sessions of a request, as a part of its explanation."""

from collections.abc import Sequence

from infscale.endpoint import Endpoint
from picker.explaining.kept_pick import KeptPick
from picker.sessions.claims import SessionClaim
from picker.sessions.placement import NOWHERE, Session
from picker.sessions.session_settings import SessionSettings, Source

PASSED_BY = "passed_by"
"""The outcome of a session that stays where it is while its request went elsewhere."""


def explained_sessions(kept: KeptPick, endpoints: Sequence[Endpoint]) -> list[dict[str, object]]:
    """Each session that was placed, or looked up: where it was, and why it is elsewhere if it is.

    Times are seconds before the decision; None: since before anything that is known. An endpoint is None where the
    session was new, or on one that had left the pool.
    """
    claims = {each.settings.carrier: each for each in kept.record.sessions}
    sessions = {each.settings.carrier: each for each in kept.sessions.values()}
    found = [
        _document(each.settings, claims.get(carrier), each, kept.now, endpoints) for carrier, each in sessions.items()
    ]
    return found + claimed_sessions([each for carrier, each in claims.items() if carrier not in sessions])


def claimed_sessions(claims: Sequence[SessionClaim]) -> list[dict[str, object]]:
    """The same of which is only known what became of them."""
    return [_document(each.settings, each, None, 0.0, ()) for each in claims]


def _document(
    kind: SessionSettings,
    claim: SessionClaim | None,
    session: Session | None,
    now: float,
    endpoints: Sequence[Endpoint],
) -> dict[str, object]:
    known = session is not None and session.row != NOWHERE
    age = None if session is None else now - session.placed_at
    return {
        "carried_by": _carried(kind),
        "strategy": kind.strategy.value,
        "was_at": str(endpoints[session.row].key) if session is not None and known else None,
        "since_seconds": age if age is not None and age < float("inf") else None,
        "outcome": PASSED_BY if claim is None else claim.outcome,
        "reason": None if claim is None else claim.reason,
    }


def _carried(kind: SessionSettings) -> str:
    """The header, the cookie or the sources of an id that carry sessions of this kind, in words, and its profile."""
    sources = [*([Source(kind.header)] if kind.header else []), *kind.sources]
    if kind.cookie is not None:
        sources.append(Source(kind.cookie.name, cookie=True))
    words = ", ".join(f"{'cookie' if each.cookie else 'header'} {each.name}" for each in sources)
    return f"{words} of profile {kind.profile}" if kind.profile else words
