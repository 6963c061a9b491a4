"""Writes status conditions: one object at a time, paced, and only what is news."""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infscale.backoff import Backoff
from infscale.endpoint import ObjectKey
from infscale.kube.api.errors import Conflict, Forbidden, KubeError, NotFound, Unreachable
from infscale.kube.api.resources import Resource
from infscale.kube.api.verbs import Patches
from infscale.kube.conditions import Judged, Verdict, as_patch, updated

if TYPE_CHECKING:
    import random

_LOG = logging.getLogger(__name__)

_Identity = tuple[Resource, ObjectKey]


@dataclass(frozen=True, slots=True)
class StatusSettings:
    """How eagerly statuses are written.

    `pace_seconds` lies between two writes. The same verdict on the same generation is written to an object again only
    after `repeat_seconds`: another writer disagrees with it. Where the rights are missing, or an object
    refuses its status, it is tried again after `refused_seconds`.
    """

    pace_seconds: float = 0.05
    repeat_seconds: float = 60.0
    refused_seconds: float = 300.0
    backoff: Backoff = field(default_factory=lambda: Backoff(base_seconds=0.5))


@dataclass(frozen=True, slots=True)
class _Written:
    """What was last written to an object, and until when it is not written again."""

    generation: int
    verdict: Verdict
    not_before: float


@dataclass(slots=True, eq=False)
class StatusWriter:
    """Follows verdicts with writes; guards what is still to be written and what was.

    Several replicas may run one each: they come to the same verdicts, a write names the version it was made for, so one
    of them wins, and the others then see that nothing is left to be said.
    """

    client: Patches
    clock: Callable[[], float]
    rng: "random.Random"
    settings: StatusSettings = field(default_factory=StatusSettings)
    _wanted: dict[_Identity, Judged] = field(default_factory=dict[_Identity, Judged], init=False)
    _written: dict[_Identity, _Written] = field(default_factory=dict[_Identity, _Written], init=False)
    _refused: dict[Resource, float] = field(default_factory=dict[Resource, float], init=False)
    _failures: int = field(default=0, init=False)
    _resume_at: float = field(default=-math.inf, init=False)
    _changed: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def sync(self, judged: Iterable[Judged]) -> None:
        """Follow `judged`, the verdicts on all objects there are."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        every = {(each.resource, each.key): each for each in judged}
        self._written = {identity: each for identity, each in self._written.items() if identity in every}
        self._wanted = {
            identity: each for identity, each in every.items() if updated(each.standing, each.verdict, now) is not None
        }
        self._changed.set()

    async def run(self) -> None:
        """Write what `sync` wants until cancelled."""
        while True:
            self._changed.clear()
            now = self.clock()
            due = {identity: self._due(identity, each) for identity, each in self._wanted.items()}
            first = min(due, key=lambda each: due[each], default=None)
            if first is None or due[first] > now:
                await self._wait(None if first is None else due[first] - now)
                continue
            await self._write(first, self._wanted.pop(first))
            await asyncio.sleep(self.settings.pace_seconds)

    async def _wait(self, seconds: float | None) -> None:
        """Wait for news, at most `seconds` where given."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def _due(self, identity: _Identity, judged: Judged) -> float:
        """When `judged` may be written."""
        due = max(self._resume_at, self._refused.get(judged.resource, -math.inf))
        last = self._written.get(identity)
        if last is not None and (last.generation, last.verdict) == (judged.standing.generation, judged.verdict):
            due = max(due, last.not_before)
        return due

    async def _write(self, identity: _Identity, judged: Judged) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        conditions = updated(judged.standing, judged.verdict, now)
        if conditions is None:
            return
        pause = self.settings.repeat_seconds
        try:
            await self.client.patch(judged.path, as_patch(judged.standing, conditions))
        except (Conflict, NotFound):
            # Another client changed or removed it; its new version comes through the watch.
            return
        except Unreachable as error:
            self._wanted.setdefault(identity, judged)
            wait = max(error.retry_after_seconds or 0.0, self.settings.backoff.delay(self._failures, self.rng))
            self._failures += 1
            self._resume_at = self.clock() + wait
            return
        except Forbidden as error:
            self._wanted.setdefault(identity, judged)
            self._refuse(judged.resource, error)
            return
        except KubeError as error:
            _LOG.warning("the status of %s %s cannot be written: %s", judged.resource.kind, judged.key, error)
            pause = self.settings.refused_seconds
        self._failures = 0
        self._written[identity] = _Written(judged.standing.generation, judged.verdict, self.clock() + pause)

    def _refuse(self, resource: Resource, error: Forbidden) -> None:
        if resource not in self._refused:
            _LOG.warning(
                "statuses are not written: %s; allow the verb patch on %s/status of the API group %s, "
                "or set write_status to false",
                error,
                resource.plural,
                resource.group,
            )
        self._refused[resource] = self.clock() + self.settings.refused_seconds
