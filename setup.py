"""With INFSCALE_COMPILE=1 most of what requests and scrapes pass is built to C by mypyc; otherwise nothing is.

What is compiled is the very Python that runs without it (`tool.infscale.compiled` in pyproject.toml says which): there
is no other source, and its tests pass on both. It needs mypy beside setuptools, so it is built without isolation, and
the C compiler this Python was built with. Each module is a C file of its own, and as many are compiled at a time as
there are processors.
"""

import os
import shutil
import sysconfig
import tomllib
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

_ROOT = Path(__file__).parent


class _Parallel(build_ext):
    """Compiles several C files of an extension at a time; by itself setuptools does so with extensions only."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or len(os.sched_getaffinity(0))

    def build_extension(self, ext: Extension) -> None:
        """Build `ext` of what its sources are compiled to."""

        def compiled(source: str) -> list[str]:
            return self.compiler.compile(
                [source],
                output_dir=self.build_temp,
                include_dirs=ext.include_dirs,
                extra_postargs=ext.extra_compile_args,
            )

        with ThreadPoolExecutor(self.parallel) as pool:
            ext.extra_objects = [*ext.extra_objects, *chain(*pool.map(compiled, ext.sources))]
        # Objects are linked anew where a source is newer than the library.
        ext.depends, ext.sources = [*ext.depends, *ext.sources], []
        super().build_extension(ext)


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
    return list(mypycify(paths, opt_level="2", debug_level="0", multi_file=True))


setup(ext_modules=_extensions(), cmdclass={"build_ext": _Parallel})
