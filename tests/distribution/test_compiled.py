"""What can be compiled, and that the tests of it can be run on what was compiled."""

import ast
import importlib
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PATTERNS: list[str] = tomllib.loads((_ROOT / "pyproject.toml").read_text())["tool"]["infscale"]["compiled"]


def _module(path: Path) -> str:
    return ".".join(path.relative_to(_ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("pattern", _PATTERNS)
def test_every_pattern_names_a_module(pattern: str) -> None:
    assert list(_ROOT.glob(pattern))


@pytest.mark.parametrize("pattern", _PATTERNS)
def test_what_is_tested_is_what_make_was_asked_for(pattern: str) -> None:
    suffix = ".so" if os.environ.get("INFSCALE_TEST_COMPILED") == "1" else ".py"
    for path in _ROOT.glob(pattern):
        module = importlib.import_module(_module(path))
        assert Path(module.__file__ or "").suffix == suffix


def _named_for_types_only(tree: ast.Module) -> Iterator[str]:
    """The modules that are imported under `if TYPE_CHECKING:`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield from (each.module for each in node.body if isinstance(each, ast.ImportFrom) and each.module)


@pytest.mark.parametrize("pattern", _PATTERNS)
def test_a_compiled_module_imports_at_run_time_what_it_names_of_others(pattern: str) -> None:
    """A field of a class of another compiled module reads that class at import: it crashes where nothing loaded it."""
    compiled = {_module(path) for each in _PATTERNS for path in _ROOT.glob(each)}
    for path in _ROOT.glob(pattern):
        assert not compiled & set(_named_for_types_only(ast.parse(path.read_text()))), path


@pytest.mark.parametrize("pattern", _PATTERNS)
def test_no_default_of_a_compiled_function_is_an_ellipsis(pattern: str) -> None:
    """Also those of protocols are values: one of another type than its argument fails when the module is imported."""
    for path in _ROOT.glob(pattern):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.arguments):
                defaults = [each for each in (*node.defaults, *node.kw_defaults) if isinstance(each, ast.Constant)]
                assert all(each.value is not ... for each in defaults), path
