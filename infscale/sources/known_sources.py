"""The kinds of sources beside the metrics pages of endpoints: a new one is a line here."""

from infscale.sources.gpu_kinds import GPU_KINDS
from infscale.sources.grpc_health import GRPC_HEALTH
from infscale.sources.node_agents import NODE_AGENT
from infscale.sources.source_kind import SourceKind

SOURCES: tuple[SourceKind, ...] = (*GPU_KINDS, NODE_AGENT, GRPC_HEALTH)
