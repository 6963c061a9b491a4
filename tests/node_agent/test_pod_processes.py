"""Processes are their pods' by their control groups, in the forms of cgroup v1 and v2 and of both drivers."""

import os
from pathlib import Path

import pytest

from infscale.node_agent.pod_processes import pod_of, pods_of

UID = "0b1c2d3e-4f50-6172-8394-a5b6c7d8e9f0"
LOW = UID.replace("-", "_")


@pytest.mark.parametrize(
    ("control_groups", "pod"),
    [
        (f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{LOW}.slice/cri-containerd-ab.scope", UID),
        (f"0::/kubepods.slice/kubepods-pod{LOW}.slice/crio-ab.scope\n", UID),
        (f"0::/../../kubepods-besteffort-pod{LOW}.slice/cri-containerd-ab.scope\n", UID),
        (f"12:cpu:/kubepods/burstable/pod{UID}/ab\n11:memory:/kubepods/burstable/pod{UID}/ab\n", UID),
        (f"0::/kubelet/kubepods/pod{UID}", UID),
        (f"0::/kubepods/pod{'0a' * 16}/ab\n", "0a" * 16),
        ("0::/user.slice/user-1000.slice/session-1.scope\n", None),
        ("0::/system.slice/podman.service\n", None),
        (f"0::/kubepods/pod{UID[:-1]}/ab\n", None),
        ("", None),
    ],
)
def test_a_pod_is_found_in_the_names_of_control_groups(control_groups: str, pod: str | None) -> None:
    assert pod_of(control_groups.encode()) == pod


def test_processes_that_ended_or_are_of_no_pod_are_left_out(tmp_path: Path) -> None:
    for process, text in ((11, f"0::/kubepods/pod{UID}/ab\n"), (12, "0::/init.scope\n")):
        (tmp_path / str(process)).mkdir()
        (tmp_path / str(process) / "cgroup").write_text(text)
    assert pods_of([11, 12, 13], tmp_path) == {11: UID}
    assert isinstance(pods_of([os.getpid()]), dict), "the real one is read, whatever it says here"
