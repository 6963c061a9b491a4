"""Request headers that the picker knows, and which of them a gateway takes from clients.

Any client can write a request header. So the picker reads none that reaches what is not the client's own unless the
configuration says that the gateway sets it, and the gateway configurations we ship remove it from what clients send.
"""

import enum
from collections.abc import Collection
from typing import Final, NamedTuple


class Use(enum.Enum):
    """When the picker goes by a header; the value is the word for it in tables."""

    TRUSTED = "trusted"
    """Only where `picker.trusted_headers` names it."""
    LOWERS = "lowers"
    """Always, where it makes the request worth less; otherwise only where it is trusted."""
    PLUGIN = "plugin"
    """Where a plugin is declared that asks for it."""
    NEVER = "never"
    """Not read: the gateway says it by other means, or nothing asks for it."""
    ALWAYS = "always"
    """It describes the request itself."""


class ClientHeader(NamedTuple):
    """A request header (lower case) and when the picker goes by it."""

    name: str
    use: Use


_BY_USE: Final = (
    (Use.TRUSTED, "x-llm-d-inference-pool x-llm-d-model-name-rewrite x-gateway-model-name-rewrite x-original-path"),
    (Use.LOWERS, "x-llm-d-inference-objective x-gateway-inference-objective"),
    (Use.PLUGIN, "x-llm-d-slo-ttft-ms x-slo-ttft-ms x-llm-d-slo-tpot-ms x-slo-tpot-ms epp-profile"),
    (Use.PLUGIN, "x-llm-d-disagg-revision x-llm-d-revision-decision-id test-epp-endpoint-selection x-session-token"),
    (Use.NEVER, "x-gateway-destination-endpoint x-gateway-destination-endpoint-subset"),
    (Use.NEVER, "x-gateway-destination-endpoint-served x-prefiller-host-port x-encoder-hosts-ports"),
    (Use.TRUSTED, "x-llm-d-inference-fairness-id x-gateway-inference-fairness-id x-infscale-explain"),
    (Use.ALWAYS, "x-infscale-session cookie x-session-id"),
    (Use.ALWAYS, "x-claude-code-session-id x-session-affinity session-id session_id"),
    (Use.ALWAYS, "x-llm-d-inference-ttl x-infscale-fallback x-infscale-shadow"),
    (Use.ALWAYS, ":method :path content-length content-encoding connection upgrade x-request-id"),
)
CLIENT_HEADERS: Final = tuple(ClientHeader(name, use) for use, names in _BY_USE for name in names.split())

TRUSTABLE: Final = tuple(
    header.name for header in CLIENT_HEADERS if header.use in {Use.TRUSTED, Use.LOWERS, Use.PLUGIN}
)
"""What `picker.trusted_headers` may name."""


def ignored(trusted: Collection[str]) -> frozenset[str]:
    """The headers that nothing in the picker sees where those of `trusted` are set by the gateway."""
    unread = {Use.TRUSTED, Use.NEVER}
    return frozenset(header.name for header in CLIENT_HEADERS if header.use in unread and header.name not in trusted)


def stripped(trusted: Collection[str] = ()) -> tuple[str, ...]:
    """The headers that a gateway removes from what clients send, where it does not set those of `trusted` itself."""
    return tuple(
        header.name for header in CLIENT_HEADERS if header.use is not Use.ALWAYS and header.name not in trusted
    )
