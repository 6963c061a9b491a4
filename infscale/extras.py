"""Packages that only some commands need, and how to get them."""

import re
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires
from shlex import quote

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def install_command(names: Sequence[str]) -> str:
    """The command that installs the packages `names`, in the versions this program was made for.

    It names them and not this program's extra: the program need not come from an index.
    """
    try:
        declared = requires("infscale") or []
    except PackageNotFoundError:
        declared = []
    versions: dict[str, str] = {}
    for each in declared:
        requirement = each.partition(";")[0].strip()
        found = _NAME.match(requirement)
        if found is not None:
            versions[found[0]] = requirement
    wanted = " ".join(quote(versions.get(name, name)) for name in names)
    return f"{quote(sys.executable)} -m pip install {wanted}"
