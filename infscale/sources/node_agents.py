"""GPU memory and utilisation per endpoint from node agents, which read the GPUs of their nodes every few seconds."""

from infscale.metrics.published.gpu_readers import NODE_AGENT_GPU
from infscale.sources.exporter import ExporterKind
from infscale.sources.node_agent_names import PORT
from infscale.sources.node_agent_page import NodeAgentReader
from infscale.sources.source_kind import ScrapeWords

NODE_AGENT = ExporterKind(
    key="node_agent",
    words=ScrapeWords("infscale_node_agent_scrape", "agent", "pages of a node agent"),
    source=NODE_AGENT_GPU,
    values="GPU values",
    port=PORT,
    reader=lambda _, pod_of: NodeAgentReader(pod_of),
)
