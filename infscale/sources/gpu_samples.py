"""From what is said of single GPUs to the sample of a pod that holds some of them, alone or with others."""

import math
from collections.abc import Sequence
from typing import Final, Literal, Protocol

from infscale.endpoint import ObjectKey
from infscale.metrics.pages.bounds import BYTES, ratio
from infscale.metrics.sample import GpuHardware, GpuSample, GpuShare

UNPUBLISHED: Final = "the exporter does not publish it"

Value = Literal["memory", "utilization"]


class HeldDevice(Protocol):
    """What one page says of one GPU or MIG slice that pods hold."""

    @property
    def model(self) -> str:
        """The driver's name of it; "" where the page does not say, and of a part of a GPU."""
        ...

    def share(self, pod: ObjectKey, identity: tuple[str, ...]) -> GpuShare:
        """What `pod` has of it; `identity` tells it from all others."""
        ...

    def why(self, pod: ObjectKey, value: Value) -> str:
        """Why a value of `pod` is unknown."""
        ...


def gpu_sample(pod: ObjectKey, held: Sequence[tuple[tuple[str, ...], HeldDevice]]) -> GpuSample:
    """The sample of a pod that holds these devices, each with what tells it from all others.

    A value that is unknown of one of them is unknown for the pod, except utilisation, which is the mean over those of
    which it is known.
    """
    devices = [device for _, device in held]
    shares = tuple([device.share(pod, identity) for identity, device in held])
    refused: dict[str, str] = {}
    busy = [share.utilization_ratio for share in shares]
    shown = [known for each in busy if (known := ratio(each)) is not None]
    if not shown:
        wrong = next((each for each in busy if not math.isnan(each)), None)
        said = f"the page says {100 * (wrong or 0.0):.10g} %, which is not within 0 to 100 %"
        refused["gpu_utilization"] = devices[0].why(pod, "utilization") if wrong is None else said
    unknown = next((each for each, share in zip(devices, shares, strict=True) if math.isnan(share.used_bytes)), None)
    why = (unknown or devices[0]).why(pod, "memory")
    used = _bytes("gpu_memory_used_bytes", [share.used_bytes for share in shares], why, refused)
    total = _bytes("gpu_memory_total_bytes", [share.total_bytes for share in shares], why, refused)
    if used is not None and total is not None and used > total:
        refused["gpu_memory_used_ratio"] = f"the page says {used:.0f} bytes are used of {total:.0f}"
    return GpuSample(
        memory_used_bytes=used,
        memory_total_bytes=total,
        utilization_ratio=sum(shown) / len(shown) if shown else None,
        refused=refused,
        shares=shares if any(share.pods > 1 for share in shares) else (),
        hardware=None if any(share.pods > 1 for share in shares) else _hardware(devices),
    )


def _hardware(devices: Sequence[HeldDevice]) -> GpuHardware | None:
    models = {device.model for device in devices}
    model = models.pop() if len(models) == 1 else ""
    return GpuHardware(model, len(devices)) if model else None


def _bytes(name: str, parts: Sequence[float], unknown: str, refused: dict[str, str]) -> float | None:
    total = sum(parts)
    if BYTES.hold(total):
        return total
    refused[name] = unknown if math.isnan(total) else BYTES.cause(total)
    return None
