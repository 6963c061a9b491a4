"""The three import packages are ours alone in an installation, and carry type information."""

from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("package", ["infscale", "adapter", "picker"])
def test_no_other_distribution_owns_the_package(package: str) -> None:
    assert set(packages_distributions().get(package, [])) <= {"infscale"}
    assert (ROOT / package / "py.typed").exists()
