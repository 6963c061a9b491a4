"""The node agent's rounds: what GPUs and kubelet say, kept with the time at which they said it."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from infscale.backoff import Backoff
from infscale.node_agent.devices import Device, Holding
from infscale.node_agent.kubelet import KubeletProblem
from infscale.node_agent.nvml import MOST_GPUS, DriverProblem
from infscale.node_agent.timely_calls import Hanging, TimelyCalls
from infscale.process.log import where

if TYPE_CHECKING:
    import random

NOT_LOOKED: Final = "it was not looked at yet"
_NO_GPU: Final = "the NVIDIA driver shows no GPU"
_STALE_AFTER_ROUNDS: Final = 3
_RETRIES: Final = Backoff(base_seconds=1.0, factor=2.0, cap_seconds=60.0)

_log = logging.getLogger(__name__)


class Driver(Protocol):
    """Reads GPUs; every method blocks and raises `DriverProblem`."""

    def open(self) -> int:
        """Begin; gives the number of GPUs."""
        ...

    def close(self) -> None:
        """End what `open` began."""
        ...

    def read(self, index: int) -> tuple[Device, ...]:
        """The GPU of that index, or its MIG slices."""
        ...


class Holders(Protocol):
    """Says what pods hold."""

    async def holdings(self) -> tuple[Holding, ...]:
        """What the containers of the node hold. Raises `KubeletProblem`."""
        ...


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """How often GPUs are read, and how long one of them, or the driver, may take to answer."""

    interval_seconds: float = 5.0
    timeout_seconds: float = 2.0

    @property
    def stale_seconds(self) -> float:
        """The age from which what was read is not used."""
        return _STALE_AFTER_ROUNDS * self.interval_seconds


@dataclass(frozen=True, slots=True)
class NodeView:
    """What is known of the node, whole.

    `devices` are GPUs and slices, of `gpus` GPUs; `unread` are GPUs of which nothing but their index is known, with the
    cause. `driver_problem` and `kubelet_problem` are why there is nothing newer, "" while all is well. `read_at` and
    `held_at` are the seconds at which devices were read and holders listed.
    """

    gpus: int = 0
    devices: tuple[Device, ...] = ()
    unread: tuple[tuple[int, str], ...] = ()
    driver_problem: str = NOT_LOOKED
    read_at: float | None = None
    holdings: tuple[Holding, ...] = ()
    kubelet_problem: str = NOT_LOOKED
    held_at: float | None = None

    def at(self, now: float, stale_seconds: float) -> "NodeView":
        """The view as it may be used at `now`: without what has become too old."""
        view = self
        if self.read_at is not None and now - self.read_at > stale_seconds:
            cause = self.driver_problem or f"the last reading is {now - self.read_at:.0f} s old"
            view = replace(view, devices=tuple(each.silent(cause) for each in self.devices), driver_problem=cause)
        if self.held_at is not None and now - self.held_at > stale_seconds:
            cause = self.kubelet_problem or f"the last answer is {now - self.held_at:.0f} s old"
            view = replace(view, holdings=(), kubelet_problem=cause)
        return view


@dataclass(slots=True)
class NodeAgent:
    """Reads GPUs and asks the kubelet while `follow` runs; owner of the view of the node."""

    driver: Driver
    holders: Holders
    settings: AgentSettings
    clock: Callable[[], float]
    rng: "random.Random"
    view: NodeView = field(default_factory=NodeView, init=False)
    _calls: TimelyCalls = field(init=False)
    _seen: dict[int, tuple[Device, ...]] = field(default_factory=dict[int, tuple[Device, ...]], init=False)
    _is_open: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._calls = TimelyCalls("NVML", self.settings.timeout_seconds)

    async def follow(self) -> None:
        """Read and ask until cancelled; without a driver it is looked for again and again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_gpus())
            group.create_task(self._follow_pods())

    async def _follow_gpus(self) -> None:
        failures = 0
        while True:
            before = self.view.driver_problem
            await self._read_gpus()
            problem = self.view.driver_problem
            _say("GPUs", before, problem)
            failures = failures + 1 if problem else 0
            later = _RETRIES.delay(failures - 1, self.rng) if failures else 0.0
            await asyncio.sleep(max(self.settings.interval_seconds, later))

    async def _follow_pods(self) -> None:
        while True:
            before = self.view.kubelet_problem
            started = self.clock()
            try:
                held = await self.holders.holdings()
            except Exception as error:
                self.view = replace(self.view, kubelet_problem=_cause(error))
            else:
                self.view = replace(self.view, holdings=held, kubelet_problem="", held_at=started)
            _say("the kubelet", before, self.view.kubelet_problem)
            await asyncio.sleep(self.settings.interval_seconds)

    async def _read_gpus(self) -> None:
        """One round; every GPU has a time limit of its own."""
        started = self.clock()
        try:
            gpus = await self._opened()
        except Exception as error:
            cause = _cause(error)
            lost = tuple(each.silent(cause) for known in self._seen.values() for each in known)
            self.view = replace(self.view, gpus=0, devices=lost, unread=(), driver_problem=cause, read_at=None)
            return
        devices: list[Device] = []
        unread: list[tuple[int, str]] = []
        failed = 0
        for index in range(min(gpus, MOST_GPUS)):
            try:
                read = await self._calls.result(f"GPU {index}", partial(self.driver.read, index))
            except Exception as error:
                cause, known = _cause(error), self._seen.get(index, ())
                failed += isinstance(error, DriverProblem)
                devices += [each.silent(cause) for each in known]
                unread += [] if known else [(index, cause)]
            else:
                self._seen[index] = read
                devices += read
        if failed == gpus:
            # What all fail at is the driver's: it is looked for anew.
            await self._shut()
        problem = "" if gpus else _NO_GPU
        self.view = replace(
            self.view, gpus=gpus, devices=tuple(devices), unread=tuple(unread), driver_problem=problem, read_at=started
        )

    async def _opened(self) -> int:
        """The number of GPUs; begins with the driver where that was not done, or has come to an end."""
        if self._is_open:
            return self.view.gpus
        gpus = await self._calls.result("driver", self.driver.open)
        self._is_open = True
        self._seen = {index: known for index, known in self._seen.items() if index < gpus}
        return gpus

    async def _shut(self) -> None:
        self._is_open = False
        try:
            await self._calls.result("driver", self.driver.close)
        except (DriverProblem, Hanging) as error:
            _log.info("the driver was not left in order: %s", error)


def _cause(error: Exception) -> str:
    """Why nothing was read. Any other error is a fault of this program, and costs no more than one reading."""
    if isinstance(error, DriverProblem | Hanging | KubeletProblem):
        return str(error)
    _log.error("a reading failed: %s", where(error))
    return f"internal error ({type(error).__name__})"


def _say(what: str, before: str, problem: str) -> None:
    """Say a change in the log, once."""
    if problem and problem != before:
        _log.warning("nothing is known of %s: %s", what, problem)
    elif before and not problem:
        _log.info("%s can be read", what)
