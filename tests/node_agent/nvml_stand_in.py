"""The stand-in for NVIDIA's library, compiled, and what it shows."""

import ctypes
import os
import subprocess
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

SOURCE = Path(__file__).with_name("fake_nvml.c")
LIBRARY = "libnvidia-ml.so.1"
GIB = 1024**3


class StandIn:
    """A library in `folder` that shows what `show` was last given."""

    def __init__(self, folder: Path) -> None:
        self.library = folder / LIBRARY
        self._shown = folder / "shown"
        command = ["cc", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", f"-Wl,-soname,{LIBRARY}"]
        subprocess.run([*command, "-o", str(self.library), str(SOURCE)], check=True)
        self.show("count 8")

    @property
    def environment(self) -> Mapping[str, str]:
        """Of a process that is to find it."""
        return {**os.environ, "LD_LIBRARY_PATH": str(self.library.parent), "FAKE_NVML": str(self._shown)}

    def show(self, *lines: str) -> None:
        """See the source."""
        draft = self._shown.with_suffix(".new")
        draft.write_text("".join(f"{line}\n" for line in lines))
        draft.replace(self._shown)

    @contextmanager
    def loaded(self) -> Generator[None, None, None]:
        """Have it in this process: the loader takes a library that is loaded by that name already."""
        ctypes.CDLL(str(self.library), mode=ctypes.RTLD_GLOBAL)
        os.environ["FAKE_NVML"] = str(self._shown)
        yield
        del os.environ["FAKE_NVML"]
