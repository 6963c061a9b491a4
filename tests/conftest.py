"""Shared by all tests: blocking calls in the event loop fail, and real components are required in CI."""

import os
import shutil

# Before anything imports grpc: tests start processes, and its fork handlers would say on each that they do nothing.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from collections.abc import Callable, Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import HealthCheck, settings

from infscale.envoy.process import find_envoy
from infscale.errors import StartError
from lab.controlplane import TOOLS, tools_problem

# How fast examples are made says more about the machine than about a test.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """Fail a test whose event loop blocks."""
    with blockbuster_ctx(scanned_modules=["infscale", "adapter", "picker"]) as bb:
        # grpcio joins its poller thread when the last server is gone.
        bb.functions["threading.Lock.acquire"].can_block_in("threading.py", {"join", "_wait_for_tstate_lock"})
        yield bb


def _envoy_problem() -> str | None:
    try:
        find_envoy()
    except StartError as error:
        return str(error)
    return None


def _prometheus_problem() -> str | None:
    missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    return f"there is no {' and no '.join(missing)}; Debian's package prometheus has them" if missing else None


def _chromium_problem() -> str | None:
    return None if shutil.which("chromium") else "there is no chromium; Debian's package chromium has it"


def _h2spec_problem() -> str | None:
    return None if os.access(TOOLS / "h2spec", os.X_OK) else "h2spec is missing: `make cluster-tools` builds it"


def _gateway_problem() -> str | None:
    if not os.access(TOOLS / "envoy-gateway", os.X_OK):
        return "envoy-gateway is missing: `make cluster-tools` builds it"
    return _envoy_problem()


_PROBLEMS: dict[str, Callable[[], str | None]] = {
    "browser": _chromium_problem,
    "cluster": tools_problem,
    "envoy": _envoy_problem,
    "gateway": _gateway_problem,
    "h2spec": _h2spec_problem,
    "prometheus": _prometheus_problem,
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests whose real component is absent, with the reason; in CI its absence is a failure."""
    for marker, problem in _PROBLEMS.items():
        marked = [item for item in items if item.get_closest_marker(marker)]
        reason = problem() if marked else None
        if reason is None:
            continue
        if os.environ.get("CI"):
            raise pytest.UsageError(f"tests marked {marker!r} cannot run, and CI must run them: {reason}")
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))
