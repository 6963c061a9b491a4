"""The part that runs rollouts: it tells them the time, keeps their states, shows them, and takes commands."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from infscale.endpoint import DiscoveryState, ObjectKey
from infscale.errors import ConfigError
from infscale.kube.conditions import Words
from infscale.periodic import TaskSet
from infscale.rollouts.rollout_book import RolloutBook
from infscale.rollouts.rollout_document import rollout_document, rollouts_document
from infscale.rollouts.rollout_state import COMMANDS, CommandRefused, RolloutPhase, RolloutState
from infscale.serving.parts import Owning
from infscale.serving.rolling_out.rollout_file import load_states, save_states, written_states
from infscale.telemetry.debug_documents import DebugCommand, DebugFinder, DebugPage, at_once
from infscale.telemetry.rollout_metrics import RolloutCollector

_LOG = logging.getLogger(__name__)

ADVANCE_SECONDS: Final = 0.25
SAVE_SECONDS: Final = 10.0
"""How often it is kept how long steps have lasted; other changes are kept at once."""


class Rolling(Owning):
    """Owns the book of rollouts; `file` keeps their states, where it is given. Enter it before what asks the book."""

    def __init__(
        self,
        clock: Callable[[], float],
        file: Path | None = None,
        tell: Callable[[Mapping[ObjectKey, Words]], None] = lambda _: None,
    ) -> None:
        """`tell` is told how far rollouts are, whenever that changes: for conditions of the cluster's objects."""
        self.book = RolloutBook()
        self._clock = clock
        self._file = file
        self._tell = tell
        self._told: dict[ObjectKey, Words] = {}
        self._saved = b""
        self._save_at = 0.0
        self._save_problem = ""
        self._advancing = TaskSet[str, Rolling](Rolling.follow)
        super().__init__(self._advancing)
        self._collectors = (RolloutCollector(self.book),)

    async def load(self) -> None:
        """Take over the states that the file has. Raises `ConfigError` where they cannot be read."""
        if self._file is not None:
            self.book.restore(await asyncio.to_thread(load_states, self._file, self._clock()))

    def sync(self, state: DiscoveryState) -> None:
        """Follow the rollouts of `state`."""
        self.book.sync(state, self._clock())
        self._advancing.sync({"rollouts": self})

    async def follow(self) -> None:
        """Take rollouts further, for ever."""
        while True:
            self.advance()
            await self.save()
            await asyncio.sleep(ADVANCE_SECONDS)

    def advance(self) -> None:
        """Take rollouts as far as they go now, and say so."""
        for running, before in self.book.advance(self._clock()):
            now = running.state
            worse = now.phase.name in ("ROLLED_BACK", "HELD")
            _LOG.log(
                logging.WARNING if worse else logging.INFO,
                "rollout %s: %s, %s",
                running.rollout.key,
                now.phase.value,
                now.reason,
                extra={"fields": {"before": before.phase.value, "weight_ratio": running.weight_ratio}},
            )

        progress = {each.rollout.key: _progress(each.state) for each in self.book}
        if progress != self._told:
            self._told = progress
            self._tell(progress)

    async def save(self) -> None:
        """Keep the states where something has changed of them."""
        if self._file is None:
            return
        content = written_states(self.book)
        now = self._clock()
        if content == self._saved or (now < self._save_at and self._same_steps(content)):
            return
        try:
            await asyncio.to_thread(save_states, self._file, content)
        except OSError as error:
            problem = f"{self._file} cannot be written: {error.strerror or error}"
            if problem != self._save_problem:
                _LOG.error("the states of rollouts are not kept: %s", problem)
            self._save_problem = problem
        else:
            self._save_problem = ""
        self._saved, self._save_at = content, now + SAVE_SECONDS

    def pages(self) -> dict[str, DebugPage]:
        """The document of all rollouts."""
        return {"rollouts": at_once(lambda: rollouts_document(self.book))}

    def finders(self) -> dict[str, DebugFinder]:
        """The document of one rollout, by its namespace and name."""
        return {"rollouts": self._found}

    def commands(self) -> Mapping[str, DebugCommand]:
        """What rollouts can be told."""
        return {"rollouts": self._obey}

    def _found(self, name: str) -> object | None:
        return next((rollout_document(each) for each in self.book if str(each.rollout.key) == name), None)

    def _obey(self, name: str, command: str) -> object:
        """Raises `CommandRefused`."""
        if command not in COMMANDS:
            raise CommandRefused(f"expected one of the commands {', '.join(COMMANDS)}")
        known = COMMANDS[COMMANDS.index(command)]
        running = self.book.command(name, known, self._clock())
        _LOG.warning("rollout %s: %s by command", running.rollout.key, running.state.phase.value)
        return rollout_document(running)

    def _same_steps(self, content: bytes) -> bool:
        """Whether nothing but time has passed since the states were kept."""
        return _without_time(content) == _without_time(self._saved)


def _progress(state: RolloutState) -> Words:
    """A rollout's state as a condition ``Progressing``."""
    goes_on = state.phase in (RolloutPhase.WAITING, RolloutPhase.PROGRESSING)
    return "True" if goes_on else "False", state.phase.value, state.reason


def _without_time(content: bytes) -> list[bytes]:
    return [line for line in content.splitlines() if b'"seconds":' not in line]


async def rolling(
    clock: Callable[[], float],
    file: Path | None,
    tell: Callable[[Mapping[ObjectKey, Words]], None] = lambda _: None,
) -> Rolling:
    """The part, with the states of its file. Raises `ConfigError`."""
    made = Rolling(clock, file, tell)
    try:
        await made.load()
    except ConfigError as error:
        raise ConfigError(error.place, error.path, f"{error.problem} (picker.rollouts_file)") from error
    return made
