"""Whose a request is, by its headers."""

from collections.abc import Sequence

import pytest

from picker.flow.reference.identities import AGENT_HEADERS, flow_of
from picker.request import Headers

FAIRNESS = "x-llm-d-inference-fairness-id"


@pytest.mark.parametrize(
    ("pairs", "agents", "expected"),
    [
        ([], (), "default-flow"),
        ([], AGENT_HEADERS, "default-flow"),
        ([("session-id", "s")], (), "default-flow"),
        ([("session-id", "s")], AGENT_HEADERS, "s"),
        ([("session_id", "old"), ("session-id", "codex")], AGENT_HEADERS, "codex"),
        ([("session-id", "codex"), ("x-session-affinity", "opencode")], AGENT_HEADERS, "opencode"),
        ([("x-session-affinity", "opencode"), ("x-claude-code-session-id", "claude")], AGENT_HEADERS, "claude"),
        ([("x-claude-code-session-id", "claude"), ("x-ours", "own")], ("x-ours", *AGENT_HEADERS), "own"),
        ([("x-ours", ""), ("session-id", "codex")], ("x-ours", *AGENT_HEADERS), "codex"),
        ([("x-session-id", "other")], AGENT_HEADERS, "default-flow"),
        ([("session-id", "s"), (FAIRNESS, "tenant")], AGENT_HEADERS, "tenant"),
        ([("x-gateway-inference-fairness-id", "older"), (FAIRNESS, "tenant")], (), "tenant"),
        ([("x-gateway-inference-fairness-id", "older")], (), "older"),
        ([(FAIRNESS, ""), ("session-id", "s")], AGENT_HEADERS, "s"),
    ],
)
def test_a_flow_is_what_the_gateway_says_else_the_session_of_an_agent(
    pairs: Sequence[tuple[str, str]], agents: Sequence[str], expected: str
) -> None:
    headers = Headers([(name, value.encode()) for name, value in pairs])
    assert flow_of(headers, agents) == expected
