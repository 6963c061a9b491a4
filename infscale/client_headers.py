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


CLIENT_HEADERS: Final = (
    ClientHeader("x-llm-d-inference-pool", Use.TRUSTED),
    ClientHeader("x-llm-d-model-name-rewrite", Use.TRUSTED),
    ClientHeader("x-gateway-model-name-rewrite", Use.TRUSTED),
    ClientHeader("x-original-path", Use.TRUSTED),
    ClientHeader("x-llm-d-inference-objective", Use.LOWERS),
    ClientHeader("x-gateway-inference-objective", Use.LOWERS),
    ClientHeader("x-llm-d-slo-ttft-ms", Use.PLUGIN),
    ClientHeader("x-slo-ttft-ms", Use.PLUGIN),
    ClientHeader("x-llm-d-slo-tpot-ms", Use.PLUGIN),
    ClientHeader("x-slo-tpot-ms", Use.PLUGIN),
    ClientHeader("epp-profile", Use.PLUGIN),
    ClientHeader("x-llm-d-disagg-revision", Use.PLUGIN),
    ClientHeader("x-llm-d-revision-decision-id", Use.PLUGIN),
    ClientHeader("test-epp-endpoint-selection", Use.PLUGIN),
    ClientHeader("x-gateway-destination-endpoint", Use.NEVER),
    ClientHeader("x-gateway-destination-endpoint-subset", Use.NEVER),
    ClientHeader("x-gateway-destination-endpoint-served", Use.NEVER),
    ClientHeader("x-llm-d-inference-fairness-id", Use.TRUSTED),
    ClientHeader("x-gateway-inference-fairness-id", Use.TRUSTED),
    ClientHeader(":method", Use.ALWAYS),
    ClientHeader(":path", Use.ALWAYS),
    ClientHeader("content-length", Use.ALWAYS),
    ClientHeader("content-encoding", Use.ALWAYS),
    ClientHeader("connection", Use.ALWAYS),
    ClientHeader("upgrade", Use.ALWAYS),
    ClientHeader("x-request-id", Use.ALWAYS),
)

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
