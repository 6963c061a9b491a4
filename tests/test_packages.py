"""The three import packages are ours alone in an installation, carry type information, and can be surveyed."""

from collections import Counter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("infscale", "adapter", "picker")
MAX_MODULES = 16
SAME_IN_EVERY_PACKAGE = {"__init__", "errors", "settings", "telemetry"}


@pytest.mark.parametrize("package", PACKAGES)
def test_no_other_distribution_owns_the_package(package: str) -> None:
    assert set(packages_distributions().get(package, [])) <= {"infscale"}
    assert (ROOT / package / "py.typed").exists()


@pytest.mark.parametrize("package", [*PACKAGES, "tests"])
def test_a_folder_holds_few_modules(package: str) -> None:
    held = Counter(each.parent.relative_to(ROOT) for each in (ROOT / package).rglob("*.py"))
    assert {folder: count for folder, count in held.items() if count > MAX_MODULES} == {}


def test_a_name_belongs_to_one_module() -> None:
    names = Counter(each.stem for package in PACKAGES for each in (ROOT / package).rglob("*.py"))
    assert {name for name, count in names.items() if count > 1} <= SAME_IN_EVERY_PACKAGE
