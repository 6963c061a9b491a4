"""The Dockerfile's steps, run as they stand outside a container: paths of the image become paths of a folder."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text()
# What the steps build to C here: all of it takes two minutes, and CI builds all of it elsewhere.
COMPILED = ["infscale/metrics/windows/window.py", "infscale/metrics/store/ledger.py"]

# Packages are fetched and installed, and a wheel is built.
pytestmark = pytest.mark.timeout(300)


def instructions() -> list[tuple[str, str]]:
    """Name and arguments of each, continued lines joined."""
    lines = [line for line in TEXT.splitlines() if line and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(name, " ".join(rest.split())) for name, _, rest in (line.partition(" ") for line in joined.splitlines())]


def the(name: str) -> str:
    """The arguments of the last instruction of this name."""
    return [rest for each, rest in instructions() if each == name][-1]


def pinned(path: Path) -> dict[str, set[str]]:
    """The hashes of each pinned requirement."""
    found: dict[str, set[str]] = {}
    for entry in re.split(r"\n(?=[a-zA-Z0-9])", path.read_text()):
        requirement = re.match(r"([a-zA-Z0-9._-]+==[^ \\]+)", entry)
        if requirement is not None:
            found.setdefault(requirement[1], set()).update(re.findall(r"--hash=(sha256:[0-9a-f]{64})", entry))
    return found


def test_what_an_image_gets_is_of_the_lock_with_its_hashes() -> None:
    whole, part = pinned(ROOT / "requirements.lock"), pinned(ROOT / "requirements-image.lock")
    assert part
    assert {name: whole.get(name) for name in part} == part
    assert all(part.values())
    names = {name.partition("==")[0] for name in part}
    project = (ROOT / "pyproject.toml").read_text().partition("dependencies = [")[2].partition("]")[0]
    assert {each.lower() for each in re.findall(r'"([a-zA-Z0-9-]+)', project)} <= names


def test_nothing_is_installed_without_hashes_or_as_root() -> None:
    installs = [rest for name, rest in instructions() if name == "RUN" and "pip install" in rest]
    assert len(installs) == 2
    assert all("--require-hashes" in each or "--no-index" in each for each in installs)
    [container] = deployment()["containers"]
    context = deployment()["securityContext"]
    assert the("USER") == f"{context['runAsUser']}:{context['runAsGroup']}"
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert (the("ENTRYPOINT"), container["args"][0]) == ('["infscale"]', "serve")


def deployment() -> dict[str, Any]:
    text = (ROOT / "manifests" / "adapter" / "deployment.yaml").read_text()
    return yaml.safe_load(text)["spec"]["template"]["spec"]  # type: ignore[no-any-return]


def ignored(path: str) -> bool:
    """Whether `.dockerignore` leaves a path out: the last line that matches it or a folder above counts."""
    parts = path.split("/")
    above = ["/".join(parts[: end + 1]) for end in range(len(parts))]
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").removeprefix("**/")
            whole = any(fnmatch(each, pattern) and each.count("/") == pattern.count("/") for each in above)
            if whole or ("**/" in line and pattern in parts):
                out = not line.startswith("!")
    return out


def context(target: Path) -> None:
    """What ``COPY . /src`` copies."""
    for folder, folders, files in os.walk(ROOT):
        place = Path(folder).relative_to(ROOT)
        names = [str(place / name) for name in folders]
        # A folder that is left out may have a part that is not.
        folders[:] = [Path(name).name for name in names if not ignored(name) or name == "tests"]
        for name in files:
            if not ignored(str(place / name)):
                (target / place).mkdir(parents=True, exist_ok=True)
                shutil.copy2(Path(folder, name), target / place / name)


@pytest.mark.slow
def test_its_steps_give_a_program_that_runs_and_writes_nothing(tmp_path: Path) -> None:
    source, image = tmp_path / "src", tmp_path / "opt" / "infscale"
    context(source)
    assert not (source / ".git").exists()
    project = (source / "pyproject.toml").read_text()
    some = "compiled = [" + ", ".join(f'"{each}"' for each in COMPILED) + "]"
    (source / "pyproject.toml").write_text(re.sub(r"compiled = \[.*?\]", some, project, count=1, flags=re.DOTALL))
    # The environment with the tools of the lock is there already.
    (source / ".venv").symlink_to(sys.prefix)
    shutil.copy(ROOT / "requirements-image.lock", tmp_path)
    os.utime(source / "pyproject.toml", (0, 0))
    os.utime(source / "requirements.lock", (0, 0))
    lock = tmp_path / "requirements-image.lock"
    places = {"/src": source, "/dist": source / "dist", "/opt/infscale": image, "/requirements-image.lock": lock}
    place = re.compile(rf"(?<![\w/])(?:{'|'.join(places)})\b")
    for step in (rest for name, rest in instructions() if name == "RUN"):
        command = place.sub(lambda found: str(places[found[0]]), re.sub(r"--mount=\S+ ", "", step))
        subprocess.run(command, shell=True, cwd=source, check=True, timeout=240)

    before = sorted(str(each) for each in image.rglob("*"))
    env = {"PATH": f"{image}/bin", "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*command: str) -> str:
        ran = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=True)
        return ran.stdout

    assert run("infscale", "--version").startswith("infscale ")
    assert "can be used" in run("infscale", "lint-config", str(config(tmp_path)))
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    where = run("python3", "-c", "import infscale.metrics.windows.window as each; print(each.__file__)").strip()
    assert Path(where).is_relative_to(image)
    assert where.endswith(suffix)
    assert sorted(str(each) for each in image.rglob("*")) == before


def config(folder: Path) -> Path:
    path = folder / "epp.yaml"
    path.write_text("apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins: [{type: queue-scorer}]\n")
    return path
