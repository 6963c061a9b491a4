"""What can be compiled, and that the tests of it can be run on what was compiled."""

import importlib
import os
import tomllib
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PATTERNS: list[str] = tomllib.loads((_ROOT / "pyproject.toml").read_text())["tool"]["infscale"]["compiled"]


@pytest.mark.parametrize("pattern", _PATTERNS)
def test_every_pattern_names_a_module(pattern: str) -> None:
    assert list(_ROOT.glob(pattern))


@pytest.mark.parametrize("pattern", _PATTERNS)
def test_what_is_tested_is_what_make_was_asked_for(pattern: str) -> None:
    suffix = ".so" if os.environ.get("INFSCALE_TEST_COMPILED") == "1" else ".py"
    for path in _ROOT.glob(pattern):
        name = ".".join(path.relative_to(_ROOT).with_suffix("").parts)
        module = importlib.import_module(name.removesuffix(".__init__"))
        assert Path(module.__file__ or "").suffix == suffix
