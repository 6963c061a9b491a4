"""Whose a request is, by its headers."""

import pytest

from picker.flow.reference.identities import AgentIdentity, SessionSource, flow_of
from picker.request import Headers

FAIRNESS = "x-llm-d-inference-fairness-id"


def headers(*pairs: tuple[str, str]) -> Headers:
    return Headers([(name, value.encode()) for name, value in pairs])


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], None),
        ([("session_id", "old")], "old"),
        ([("session_id", "old"), ("session-id", "codex")], "codex"),
        ([("session-id", "codex"), ("x-session-affinity", "opencode")], "opencode"),
        ([("x-session-affinity", "opencode"), ("x-claude-code-session-id", "claude")], "claude"),
        ([("x-claude-code-session-id", "claude"), ("x-ours", "own")], "own"),
        ([("x-ours", ""), ("session-id", "codex")], "codex"),
        ([("x-session-id", "other")], None),
    ],
)
def test_an_agents_session_is_the_first_that_any_of_its_headers_names(
    pairs: list[tuple[str, str]], expected: str | None
) -> None:
    assert AgentIdentity.beside(["X-Ours"]).of(headers(*pairs)) == expected


@pytest.mark.parametrize(
    ("pairs", "agents", "expected"),
    [
        ([], None, "default-flow"),
        ([], AgentIdentity(), "default-flow"),
        ([("session-id", "s")], None, "default-flow"),
        ([("session-id", "s")], AgentIdentity(), "s"),
        ([("session-id", "s"), (FAIRNESS, "tenant")], AgentIdentity(), "tenant"),
        ([("x-gateway-inference-fairness-id", "older"), (FAIRNESS, "tenant")], None, "tenant"),
        ([("x-gateway-inference-fairness-id", "older")], None, "older"),
        ([(FAIRNESS, ""), ("session-id", "s")], AgentIdentity(), "s"),
    ],
)
def test_a_flow_is_what_the_gateway_says_else_the_session_of_an_agent(
    pairs: list[tuple[str, str]], agents: AgentIdentity | None, expected: str
) -> None:
    assert flow_of(headers(*pairs), agents) == expected


@pytest.mark.parametrize(
    ("source", "pairs", "expected"),
    [
        (SessionSource(), [("x-session-id", "s")], "s"),
        (SessionSource(), [("x-session-id", "")], None),
        (SessionSource(), [("cookie", "x-session-id=s")], None),
        (SessionSource("x-own"), [("x-own", "s"), ("x-session-id", "t")], "s"),
        (SessionSource(None, "sid"), [("cookie", "a=1; sid=s; b=2")], "s"),
        (SessionSource(None, "sid"), [("cookie", 'sid="s"')], "s"),
        (SessionSource(None, "sid"), [("cookie", "a=1"), ("cookie", "sid=s")], "s"),
        (SessionSource(None, "sid"), [("cookie", "xsid=s; sid")], None),
        (SessionSource(None, "sid"), [("cookie", "sid=")], None),
        (SessionSource(None, "sid"), [], None),
    ],
)
def test_a_session_is_named_in_a_header_or_a_cookie(
    source: SessionSource, pairs: list[tuple[str, str]], expected: str | None
) -> None:
    assert source.of(headers(*pairs)) == expected
