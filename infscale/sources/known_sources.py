"""The kinds of sources beside the metrics pages of endpoints: a new one is a line here."""

from infscale.sources.gpu_kinds import GPU_KINDS
from infscale.sources.source_kind import SourceKind

SOURCES: tuple[SourceKind, ...] = (*GPU_KINDS,)
