"""Which pod a process belongs to, by its control group. It takes the process ids of the node (`hostPID`)."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
_MOST_BYTES: Final = 16_384
# kubepods-burstable-pod1234….slice of systemd, or kubepods/burstable/pod1234…; static pods have 32 digits.
_POD: Final = re.compile(rb"[-/]pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?=[./\s]|\Z)")


def pod_of(control_groups: bytes) -> str | None:
    """The UID of the pod of a process with these control groups (``/proc/<pid>/cgroup``); None: it has none."""
    found = _POD.search(control_groups)
    return None if found is None else found[1].decode().replace("_", "-")


def pods_of(processes: Sequence[int], proc: Path = PROC) -> Mapping[int, str]:
    """The UIDs of the pods that `processes` belong to; those that belong to none, or have ended, are left out.

    It blocks.
    """
    found: dict[int, str] = {}
    for process in processes:
        try:
            with (proc / str(process) / "cgroup").open("rb") as file:
                pod = pod_of(file.read(_MOST_BYTES))
        except OSError:
            continue
        if pod is not None:
            found[process] = pod
    return found
