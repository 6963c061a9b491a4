"""What the page of a node agent calls its metrics: the agent writes them, and a source reads them."""

from typing import Final

PORT: Final = 9410
"""The port of the page, unless it is told another."""
GPUS: Final = "infscale_node_agent_gpus"
SOURCE_UP: Final = "infscale_node_agent_source_up"
SOURCE_PROBLEM: Final = "infscale_node_agent_source_problem"
GPU_MEMORY_USED: Final = "infscale_node_agent_gpu_memory_used_bytes"
GPU_MEMORY_TOTAL: Final = "infscale_node_agent_gpu_memory_total_bytes"
GPU_UTILIZATION: Final = "infscale_node_agent_gpu_utilization_ratio"
GPU_ROW_REMAP_FAILED: Final = "infscale_node_agent_gpu_row_remap_failed"
GPU_PROBLEM: Final = "infscale_node_agent_gpu_problem"
POD_GPU: Final = "infscale_node_agent_pod_gpu"
POD_GPU_MEMORY_USED: Final = "infscale_node_agent_pod_gpu_memory_used_bytes"
POD_GPU_UTILIZATION: Final = "infscale_node_agent_pod_gpu_utilization_ratio"
POD_GPU_PROBLEM: Final = "infscale_node_agent_pod_gpu_problem"
PROCESS_MEMORY: Final = "infscale_node_agent_pod_processes_memory_bytes"
