"""NVIDIA's management library (NVML): the one module that calls it. Every call blocks, for milliseconds or for ever.

Several may be in it at once: NVML is safe for threads.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final, TypeVar

import pynvml

from infscale.errors import InfscaleError
from infscale.node_agent.devices import Device, Slice, Value

T = TypeVar("T")

MOST_GPUS: Final = 64
"""GPUs of one node that are read."""
_MOST_SLICES: Final = 16
_MOST_PROCESSES: Final = 1024
_LONGEST_TEXT: Final = 120
_PERCENT: Final = 100

# What users can act on is said in our words.
_CAUSES: Final[Mapping[int, str]] = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "there is no NVIDIA driver here (libnvidia-ml.so.1 is not found)",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded",
    pynvml.NVML_ERROR_NO_PERMISSION: "NVML gives no permission",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "driver and driver library are of different versions",
    pynvml.NVML_ERROR_GPU_IS_LOST: "the GPU is lost: it has fallen off the bus, or is otherwise out of reach",
    pynvml.NVML_ERROR_NOT_SUPPORTED: "NVML does not publish it",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "the driver is too old to say it",
}
_UNSAID: Final = frozenset(
    {pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, pynvml.NVML_ERROR_NO_PERMISSION}
)
_OUT_OF_NOTHING: Final = "NVML says that more is used than there is"

PodsOfProcesses = Callable[[Sequence[int]], Mapping[int, str]]
"""The UIDs of the pods that processes belong to; those of none are left out. It blocks."""


class DriverProblem(InfscaleError):
    """The driver does not answer as it should; the message is the cause in plain words."""


class Nvml:
    """NVML of this machine. `pods_of` None: memory is not told by processes."""

    def __init__(self, pods_of: PodsOfProcesses | None = None) -> None:
        self._pods_of = pods_of

    def open(self) -> int:
        """Begin; gives the number of GPUs. Raises `DriverProblem`."""
        with _in_words():
            pynvml.nvmlInit()
            return int(pynvml.nvmlDeviceGetCount())

    def close(self) -> None:
        """End what `open` began."""
        with _in_words():
            pynvml.nvmlShutdown()

    def read(self, index: int) -> tuple[Device, ...]:
        """The GPU of that index, or its MIG slices where it is divided. Raises `DriverProblem`."""
        with _in_words():
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid = _text(pynvml.nvmlDeviceGetUUID(handle))
        minor = _optional(lambda: int(pynvml.nvmlDeviceGetMinorNumber(handle)))
        name = _optional(lambda: _text(pynvml.nvmlDeviceGetName(handle))) or ""
        gpu = Device(uuid, index, minor, name, row_remap_failed=_optional(lambda: _remap_failed(handle)))
        mode = _optional(lambda: int(pynvml.nvmlDeviceGetMigMode(handle)[0]))
        if mode == pynvml.NVML_DEVICE_MIG_ENABLE:
            slices = tuple(self._slices(gpu, handle))
            if slices:
                return slices
        return (self._measured(gpu, handle),)

    def _slices(self, gpu: Device, handle: Any) -> Iterator[Device]:
        count = _optional(lambda: int(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle))) or 0
        for index in range(min(count, _MOST_SLICES)):
            try:
                each = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
            except pynvml.NVMLError as error:
                if _code(error) == pynvml.NVML_ERROR_NOT_FOUND:
                    continue
                raise _problem(error) from None
            yield self._measured(_slice(gpu, each, index), each)

    def _measured(self, device: Device, handle: Any) -> Device:
        """`device` with its values; each has a cause of its own where it is unknown."""
        problems: dict[Value, str] = {}
        memory = _value("memory", lambda: _memory(handle), problems)
        busy = _value("utilization", lambda: int(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu), problems)
        if busy is not None and not 0 <= busy <= _PERCENT:
            problems["utilization"] = f"NVML says {busy} %, which is not within 0 to 100 %"
            busy = None
        used, total = (None, None) if memory is None else memory
        if used is not None and total is not None and used > total:
            problems["memory"] = _OUT_OF_NOTHING
            used = total = None
        return replace(
            device,
            memory_used_bytes=used,
            memory_total_bytes=total,
            utilization_ratio=None if busy is None else busy / _PERCENT,
            problems=problems,
            pod_memory_bytes=self._by_pod(handle),
        )

    def _by_pod(self, handle: Any) -> Mapping[str, int]:
        if self._pods_of is None:
            return {}
        processes = _optional(lambda: _processes(handle)) or {}
        pods = self._pods_of([*processes])
        memory: dict[str, int] = {}
        for pid, pod in pods.items():
            memory[pod] = memory.get(pod, 0) + (processes[pid] or 0)
        # Of a pod that has a process of unknown memory the whole is unknown.
        partly = {pod for pid, pod in pods.items() if processes[pid] is None}
        return {pod: used for pod, used in memory.items() if pod not in partly}


def _slice(gpu: Device, handle: Any, index: int) -> Device:
    place = Slice(
        index,
        _optional(lambda: int(pynvml.nvmlDeviceGetGpuInstanceId(handle))),
        _optional(lambda: int(pynvml.nvmlDeviceGetComputeInstanceId(handle))),
    )
    with _in_words():
        uuid = _text(pynvml.nvmlDeviceGetUUID(handle))
    name = _optional(lambda: _text(pynvml.nvmlDeviceGetName(handle))) or gpu.name
    return replace(gpu, uuid=uuid, name=name, slice=place, parent=gpu.uuid)


def _memory(handle: Any) -> tuple[int, int]:
    """Used and total bytes; a driver that cannot tell what is reserved counts that as used."""
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    except pynvml.NVMLError as error:
        if _code(error) not in {pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, pynvml.NVML_ERROR_NOT_SUPPORTED}:
            raise
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return int(memory.used), int(memory.total)


def _processes(handle: Any) -> dict[int, int | None]:
    """Memory of the processes on a device, by their ids; None is unknown."""
    found = pynvml.nvmlDeviceGetComputeRunningProcesses_v3(handle)
    return {
        int(each.pid): None if each.usedGpuMemory is None else int(each.usedGpuMemory)
        for each in found[:_MOST_PROCESSES]
    }


def _remap_failed(handle: Any) -> bool:
    return bool(pynvml.nvmlDeviceGetRemappedRows(handle)[3])


def _optional(call: Callable[[], T]) -> T | None:
    """What a call says; None where the driver or the device does not say it. Raises `DriverProblem`."""
    try:
        return call()
    except pynvml.NVMLError as error:
        if _code(error) in _UNSAID:
            return None
        raise _problem(error) from None


def _value(name: Value, call: Callable[[], T], problems: dict[Value, str]) -> T | None:
    try:
        return call()
    except pynvml.NVMLError as error:
        problems[name] = str(_problem(error))
        return None


@contextmanager
def _in_words() -> Generator[None]:
    try:
        yield
    except pynvml.NVMLError as error:
        raise _problem(error) from None


def _code(error: pynvml.NVMLError) -> int:
    return int(error.value)  # pyright: ignore[reportAttributeAccessIssue] # it is set when the error is made


def _problem(error: pynvml.NVMLError) -> DriverProblem:
    return DriverProblem(_CAUSES.get(_code(error)) or f"NVML says: {_text(str(error))}")


def _text(said: str | bytes) -> str:
    """What the library says as text, of bounded length and without what no page can have."""
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return "".join(each for each in text[:_LONGEST_TEXT] if each.isprintable())
