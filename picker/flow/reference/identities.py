"""Whose a request is, by its headers, as the reference reads them."""

from collections.abc import Sequence
from typing import Final

from picker.request import Headers

FAIRNESS_HEADERS: Final = ("x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id")
"""Who a request is for, said by the gateway; of the two spellings the first counts."""

DEFAULT_FLOW: Final = "default-flow"
"""The flow of requests that nothing names one for."""

AGENT_HEADERS: Final = ("x-claude-code-session-id", "x-session-affinity", "session-id", "session_id")
"""Headers by which agents name their sessions, in the order in which they are asked (``agent-identity``)."""


def flow_of(headers: Headers, agent_headers: Sequence[str] = ()) -> str:
    """The flow of a request: what the gateway says, else the session that an agent names, else that of all others.

    `agent_headers` (lower case) are asked in their order.
    """
    for name in (*FAIRNESS_HEADERS, *agent_headers):
        if flow := headers.get(name):
            return flow
    return DEFAULT_FLOW
