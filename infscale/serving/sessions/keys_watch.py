"""Session keys that are followed while serving, so that they can be changed one after the other."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from infscale.endpoint import DiscoveryState
from infscale.errors import ConfigError
from infscale.periodic import TaskSet
from infscale.serving.deciding import Deciding
from infscale.serving.parts import Owning
from infscale.serving.sessions.key_files import session_keys
from picker.sessions.session_tokens import TokenKeys
from picker.telemetry.metric_families import filled

_LOG = logging.getLogger(__name__)

_SETTLE_SECONDS: Final = 0.05
"""A change counts once two looks so far apart agree: the files of a Secret are read one by one."""


class KeysWatch:
    """Has sessions signed with the keys that their files have now; keys that cannot be used change nothing.

    `counts` are changes by what became of them.
    """

    def __init__(self, deciding: Deciding, every_seconds: float, settle_seconds: float = _SETTLE_SECONDS) -> None:
        self._deciding = deciding
        self._every_seconds = every_seconds
        self._settle_seconds = settle_seconds
        self._refused = ""
        self.counts = {"applied": 0, "refused": 0}

    async def follow(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(self._every_seconds)
            await self.refresh()

    async def refresh(self) -> None:
        """Look once."""
        scheduling = self._deciding.scheduling
        if not any(kind.keys for kind in scheduling.sessions):
            return
        try:
            found = await self._settled(lambda: session_keys(scheduling.sessions))
        except ConfigError as error:
            self._refuse(str(error))
            return
        self._refused = ""
        if scheduling is self._deciding.scheduling and found != scheduling.session_keys:
            self._deciding.rekey(found)
            self.counts["applied"] += 1
            _LOG.info("session keys changed", extra={"fields": {"files": sorted(found)}})

    async def _settled(self, read: Callable[[], Mapping[str, TokenKeys]]) -> Mapping[str, TokenKeys]:
        in_force, found = self._deciding.scheduling.session_keys, await asyncio.to_thread(read)
        while found != in_force:
            await asyncio.sleep(self._settle_seconds)
            before, found = found, await asyncio.to_thread(read)
            if found == before:
                break
        return found

    def _refuse(self, problem: str) -> None:
        if problem != self._refused:
            self._refused = problem
            self.counts["refused"] += 1
            _LOG.error("changed session keys refused, those before stay in force: %s", problem)


class SessionKeys(Owning):
    """The part that follows them."""

    def __init__(self, watch: KeysWatch) -> None:
        self._watch = watch
        self._following = TaskSet[str, KeysWatch](KeysWatch.follow)
        super().__init__(self._following)
        self._collectors = (KeysCollector(watch.counts),)

    def sync(self, state: DiscoveryState) -> None:
        """Begin, with the first state."""
        del state
        self._following.sync({"keys": self._watch})


class KeysCollector(Collector):
    """`infscale_picker_session_key_reloads`: what became of changes of the keys."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """The family."""
        yield filled(
            CounterMetricFamily,
            "infscale_picker_session_key_reloads",
            "changes of the files of session keys, by outcome: applied, refused",
            ["outcome"],
            (([outcome], count) for outcome, count in self._counts.items()),
        )
