"""Readers of GPU values; a group of pods that share GPUs counts each of these once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from infscale.metrics.published.window_readers import Group
from infscale.metrics.sample import FloatArray, GpuShare
from infscale.metrics.snapshot import IntArray, PoolSnapshot
from infscale.metrics.source import Source

GPU_STALENESS_SECONDS = 90.0
"""GPU exporters collect every 30 s by default: a GPU value is fresh for three of their intervals."""
GPU = Source("GPU exporter", observed="gpu_observed_at", staleness_seconds=GPU_STALENESS_SECONDS, per_pod=True)
NODE_AGENT_GPU = replace(GPU, name="node agent", precedence=1)
"""Reads every few seconds what exporters collect every 30 s."""
HAMI_GPU = replace(GPU, name="HAMi", precedence=2)
"""Knows the share of a GPU that a pod was given; the others know the whole GPU."""

_Value = Literal["gpu_memory_used_bytes", "gpu_memory_total_bytes", "gpu_memory_used_ratio", "gpu_utilization"]


@dataclass(frozen=True, slots=True)
class GpuReader:
    """One of the values of GPUs: bytes, which a group adds up, or a ratio, of which a group has the mean.

    A ratio of memory is unknown where there is said to be none, or less than is used. Pods that share GPUs make one
    member of a group, with the values of these: what the pods of the group use of each, and all there is where they are
    all that hold it.
    """

    name: _Value

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of gauges that it is made of, and its own where what it is made of makes no ratio."""
        if self.name == "gpu_memory_used_ratio":
            return ("gpu_memory_used_bytes", "gpu_memory_total_bytes", self.name)
        return (self.name,)

    def read(self, snapshot: PoolSnapshot, now: float, model: str | None) -> FloatArray:
        """See `MergingReader`."""
        del now, model
        pod = snapshot.columns.pod
        if self.name != "gpu_memory_used_ratio":
            column: FloatArray = getattr(pod, self.name)
            return column
        total = pod.gpu_memory_total_bytes
        shares = pod.gpu_memory_used_bytes / np.where(total >= _LEAST_BYTES, total, math.nan)
        return np.where(shares <= 1.0, shares, math.nan)

    def of_groups(self, groups: Sequence[Group], now: float, model: str | None) -> list[float]:
        """See `MergingReader`."""
        if not groups:
            return []
        column = self.read(groups[0].snapshot, now, model)
        return [self._of(group, column) for group in groups]

    def members(self, snapshot: PoolSnapshot, rows: IntArray) -> int:
        """See `MergingReader`; pods that share GPUs are one member."""
        shares = snapshot.columns.gpu_shares
        return len(_members(shares, rows)) if any([shares[row] for row in rows.tolist()]) else len(rows)

    def _of(self, group: Group, column: FloatArray) -> float:
        shares = group.snapshot.columns.gpu_shares
        known = [group.known_sum(column), float(len(group))]
        if any([shares[row] for row in group.rows.tolist()]):
            members = _members(shares, group.rows)
            values = np.array([self._of_member(shares, rows, column) for rows in members])
            whole = Group(group.snapshot, np.arange(len(values), dtype=np.intp), group.absent)
            known = [whole.known_sum(values), float(len(whole))]
        return known[0] if self.name in _SUMS else known[0] / known[1]

    def _of_member(self, shares: Sequence[tuple[GpuShare, ...]], rows: Sequence[int], column: FloatArray) -> float:
        """The value of some pods that share GPUs, or of one that shares none."""
        if not shares[rows[0]]:
            return float(column[rows[0]])
        devices: dict[tuple[str, ...], list[GpuShare]] = {}
        for row in rows:
            for share in shares[row]:
                devices.setdefault(share.device, []).append(share)
        of_each = list(devices.values())
        match self.name:
            case "gpu_memory_used_bytes":
                return sum(map(_used_bytes, of_each))
            case "gpu_memory_total_bytes":
                return _total_bytes(of_each)
            case "gpu_utilization":
                busy = [each for each in map(_utilization, of_each) if 0.0 <= each <= 1.0]
                return sum(busy) / len(busy) if busy else math.nan
            case _:
                total = _total_bytes(of_each)
                used = sum(map(_used_bytes, of_each)) / total if total >= _LEAST_BYTES else math.nan
                return used if used <= 1.0 else math.nan


_LEAST_BYTES = 1.0
_SUMS = frozenset({"gpu_memory_used_bytes", "gpu_memory_total_bytes"})


def _members(shares: Sequence[tuple[GpuShare, ...]], rows: IntArray) -> list[list[int]]:
    """The rows, those together that share GPUs, also by way of others."""
    of_device: dict[tuple[str, ...], list[int]] = {}
    members: list[list[int]] = []
    for row in rows.tolist():
        joined: list[int] | None = None
        for share in shares[row]:
            other = of_device.get(share.device)
            if other is not None and other is not joined:
                joined = other if joined is None else _joined(joined, other, shares, of_device)
        if joined is None:
            joined = []
            members.append(joined)
        joined.append(row)
        for share in shares[row]:
            of_device[share.device] = joined
    return [each for each in members if each]


def _joined(
    one: list[int],
    other: list[int],
    shares: Sequence[tuple[GpuShare, ...]],
    of_device: dict[tuple[str, ...], list[int]],
) -> list[int]:
    """Both as one: the rows of the shorter go over to the longer."""
    short, long = sorted((one, other), key=len)
    for row in short:
        for share in shares[row]:
            of_device[share.device] = long
    long += short
    short.clear()
    return long


def _used_bytes(shares: Sequence[GpuShare]) -> float:
    whole = shares[0].device_used_bytes
    return _together([share.used_bytes for share in shares], whole, all_of_it=len(shares) == shares[0].pods)


def _utilization(shares: Sequence[GpuShare]) -> float:
    whole = shares[0].device_utilization_ratio
    return _together([share.utilization_ratio for share in shares], whole, all_of_it=len(shares) == shares[0].pods)


def _together(parts: Sequence[float], whole: float, *, all_of_it: bool) -> float:
    """What some pods have of a GPU, which is no more than all that have it; NaN where that is unknown."""
    if all_of_it and not math.isnan(whole):
        return whole
    together = sum(parts)
    return whole if together > whole else together


def _total_bytes(of_each: Sequence[Sequence[GpuShare]]) -> float:
    return sum([shares[0].total_bytes for shares in of_each])
