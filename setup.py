"""With INFSCALE_COMPILE=1 the modules that every request passes through are built to C by mypyc; otherwise nothing is.

What is compiled is the very Python that runs without it (`tool.infscale.compiled` in pyproject.toml says which): there
is no other source and no other behaviour, and the picker's tests pass on both.
"""

import os
import tomllib
from pathlib import Path

from setuptools import setup

_ROOT = Path(__file__).parent


def _extensions() -> list[object]:
    if os.environ.get("INFSCALE_COMPILE") != "1":
        return []
    from mypyc.build import mypycify

    patterns = tomllib.loads((_ROOT / "pyproject.toml").read_text())["tool"]["infscale"]["compiled"]
    paths = sorted(str(path.relative_to(_ROOT)) for pattern in patterns for path in _ROOT.glob(pattern))
    return list(mypycify(paths, opt_level="3", debug_level="0"))


setup(ext_modules=_extensions())
