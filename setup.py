"""With INFSCALE_COMPILE=1 most of what requests and scrapes pass is built to C by mypyc; otherwise nothing is.

What is compiled is the very Python that runs without it (`tool.infscale.compiled` in pyproject.toml says which): there
is no other source, and its tests pass on both. It needs mypy beside setuptools, so it is built without isolation, and
the C compiler this Python was built with.
"""

import os
import shutil
import sysconfig
import tomllib
from pathlib import Path

from setuptools import setup

_ROOT = Path(__file__).parent


def _extensions() -> list[object]:
    if os.environ.get("INFSCALE_COMPILE") != "1":
        return []
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        raise SystemExit(
            f"INFSCALE_COMPILE=1 needs a C compiler, and there is no {compiler}; without it, all runs as Python"
        )
    try:
        from mypyc.build import mypycify
    except ImportError as error:
        raise SystemExit("INFSCALE_COMPILE=1 needs mypy: install it and pass --no-build-isolation") from error

    patterns = tomllib.loads((_ROOT / "pyproject.toml").read_text())["tool"]["infscale"]["compiled"]
    paths = sorted(str(path.relative_to(_ROOT)) for pattern in patterns for path in _ROOT.glob(pattern))
    return list(mypycify(paths, opt_level="2", debug_level="0"))


setup(ext_modules=_extensions())
