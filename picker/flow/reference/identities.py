"""Whose a request is, by its headers, as the reference's plugins read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from picker.request import Headers

FAIRNESS_HEADERS: Final = ("x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id")
"""Who a request is for, said by the gateway; of the two spellings the first counts."""

DEFAULT_FLOW: Final = "default-flow"
"""The flow of requests that nothing names one for."""

AGENT_HEADERS: Final = ("x-claude-code-session-id", "x-session-affinity", "session-id", "session_id")
"""Headers by which agents name their sessions."""

SESSION_HEADER: Final = "x-session-id"


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """The session of an agent (``agent-identity``): the first of `headers` (lower case) that says anything."""

    headers: tuple[str, ...] = AGENT_HEADERS

    @classmethod
    def beside(cls, more: Sequence[str]) -> "AgentIdentity":
        """By `more` headers, asked before those that are known."""
        return cls((*(name.lower() for name in more), *AGENT_HEADERS))

    def of(self, headers: Headers) -> str | None:
        """The session that `headers` name; None: none."""
        return next((found for name in self.headers if (found := headers.get(name))), None)


@dataclass(frozen=True, slots=True)
class SessionSource:
    """Where a request says which session it belongs to (``session-id-producer``): in a header, else in a cookie."""

    header: str | None = SESSION_HEADER
    cookie: str | None = None

    def of(self, headers: Headers) -> str | None:
        """The session that `headers` name; None: none."""
        if self.header is not None:
            return headers.get(self.header) or None
        return None if self.cookie is None else _cookie(headers.get("cookie") or "", self.cookie)


def flow_of(headers: Headers, agents: AgentIdentity | None) -> str:
    """The flow of a request: what the gateway says, else the session of an agent, else the one of all others."""
    for name in FAIRNESS_HEADERS:
        if flow := headers.get(name):
            return flow
    return (agents.of(headers) if agents is not None else None) or DEFAULT_FLOW


def _cookie(text: str, name: str) -> str | None:
    # Pairs of several fields have been joined with commas, which a cookie's value has none of (RFC 6265).
    for pair in text.replace(",", ";").split(";"):
        key, equals, value = pair.strip().partition("=")
        if equals and key == name:
            return value.strip('"') or None
    return None
