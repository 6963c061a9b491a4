"""A dcgm-exporter page for the GPUs of one or more model servers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import NAMESPACE_DNS, uuid5

from infscale.sim.pages.families import escape, head

_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class GpuView:
    """One GPU, with the exporter's `labels`, those of its pod included. Memory in bytes, `utilization_ratio` 0–1."""

    labels: Mapping[str, str]
    memory_used_bytes: int
    memory_reserved_bytes: int
    memory_total_bytes: int
    utilization_ratio: float

    @property
    def memory_free_bytes(self) -> int:
        """What is neither used nor reserved."""
        return self.memory_total_bytes - self.memory_used_bytes - self.memory_reserved_bytes


_FIELDS: tuple[tuple[str, str, Callable[[GpuView], float]], ...] = (
    ("DCGM_FI_DEV_SM_CLOCK", "SM clock frequency (in MHz).", lambda _: 1980),
    ("DCGM_FI_DEV_MEM_CLOCK", "Memory clock frequency (in MHz).", lambda _: 2619),
    ("DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C).", lambda gpu: 32 + round(35 * gpu.utilization_ratio)),
    ("DCGM_FI_DEV_POWER_USAGE", "Power draw (in W).", lambda gpu: 70 + round(550 * gpu.utilization_ratio)),
    ("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (in %).", lambda gpu: round(100 * gpu.utilization_ratio)),
    ("DCGM_FI_DEV_MEM_COPY_UTIL", "Memory utilization (in %).", lambda gpu: round(60 * gpu.utilization_ratio)),
    ("DCGM_FI_DEV_XID_ERRORS", "Value of the last XID error encountered.", lambda _: 0),
    ("DCGM_FI_DEV_FB_FREE", "Framebuffer memory free (in MiB).", lambda gpu: gpu.memory_free_bytes // _MIB),
    ("DCGM_FI_DEV_FB_USED", "Framebuffer memory used (in MiB).", lambda gpu: gpu.memory_used_bytes // _MIB),
    ("DCGM_FI_DEV_FB_RESERVED", "Framebuffer memory reserved (in MiB).", lambda gpu: gpu.memory_reserved_bytes // _MIB),
    ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "Ratio of time the graphics engine is active.",
     lambda gpu: round(gpu.utilization_ratio, 6)),
)  # fmt: skip


def gpu_page(gpus: Sequence[GpuView]) -> str:
    """The exporter's page; whole numbers are written without a decimal point, as it does."""
    # The exporter does not sort its labels.
    texts = [",".join(f'{name}="{escape(value)}"' for name, value in gpu.labels.items()) for gpu in gpus]
    blocks: list[str] = []
    for name, text, value in _FIELDS:
        blocks.append(head(name, "gauge", text))
        blocks += [f"{name}{{{labels}}} {value(gpu)}\n" for labels, gpu in zip(texts, gpus, strict=True)]
    return "".join(blocks)


class GpuMeter:
    """Memory and utilisation of one server's GPUs.

    Engines reserve 90 % of the memory when they start, however much of it is used later; while starting it fills up.
    Utilisation is the share of time spent in steps since the reading before, over at least a second.
    """

    def __init__(self, pod: tuple[str, str], gpu_model: str, gpus: int, memory_bytes: int) -> None:
        self._pod = pod
        self._model = gpu_model
        self._gpus = gpus
        self._memory_bytes = memory_bytes
        self._read_at = 0.0
        self._busy_seconds = 0.0
        self._utilization_ratio = 0.0

    def read(self, now: float, busy_seconds: float, started_ratio: float) -> tuple[GpuView, ...]:
        """The GPUs now; `busy_seconds` is a running total, `started_ratio` 1 once the server is ready."""
        if now - self._read_at >= 1.0:
            share = (busy_seconds - self._busy_seconds) / (now - self._read_at)
            self._utilization_ratio = min(1.0, max(0.0, share))
            self._read_at, self._busy_seconds = now, busy_seconds
        namespace, pod = self._pod
        return tuple(
            GpuView(
                labels={
                    "gpu": str(index),
                    "UUID": f"GPU-{uuid5(NAMESPACE_DNS, f'{namespace}/{pod}/{index}')}",
                    "pci_bus_id": f"00000000:{index + 1:02X}:00.0",
                    "device": f"nvidia{index}",
                    "modelName": self._model,
                    "hostname": f"node-{pod}",
                    "DCGM_FI_DRIVER_VERSION": "570.172.08",
                    "container": "model-server",
                    "namespace": namespace,
                    "pod": pod,
                },
                memory_used_bytes=round(0.9 * self._memory_bytes * started_ratio),
                memory_reserved_bytes=self._memory_bytes // 128,
                memory_total_bytes=self._memory_bytes,
                utilization_ratio=self._utilization_ratio,
            )
            for index in range(self._gpus)
        )
