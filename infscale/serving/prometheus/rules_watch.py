"""The file of prometheus-adapter's rules: read at the start, and followed."""

import asyncio
import logging
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol

from infscale.documents.watched_file import Look, WatchedFile
from infscale.errors import ConfigError
from infscale.prometheus.prometheus_settings import AdapterRulesSettings, PrometheusSettings
from infscale.prometheus.rules.rules_file import RulesFile, parse_rules
from infscale.prometheus.rules.rules_report import RESOURCES_NOT_SERVED

_LOOK_SECONDS: Final = 1.0

_LOG = logging.getLogger(__name__)


class GoesByRules(Protocol):
    """Something that rules are changed of."""

    def change(self, rules: RulesFile) -> None:
        """Go by `rules` from now on."""
        ...


class RulesWatch:
    """Follows a file of rules; guards the last look at it. A version that cannot be used changes nothing."""

    def __init__(self, path: Path) -> None:
        self._file = WatchedFile(path, _LOOK_SECONDS)
        self._look = Look()

    async def first(self) -> RulesFile:
        """The rules to start with. Raises `ConfigError`."""
        self._look = await self._file.look()
        return await self._parsed()

    async def follow(self, evaluation: GoesByRules) -> None:
        """Have `evaluation` go by each new version, until cancelled."""
        while True:
            self._look = await self._file.changed(self._look)
            try:
                evaluation.change(await self._parsed())
            except ConfigError as error:
                _LOG.error("changed rules refused, those before stay in force: %s", error)
            else:
                _LOG.info("rules of prometheus-adapter changed", extra={"fields": {"file": str(self._file.path)}})

    async def _parsed(self) -> RulesFile:
        source = str(self._file.path)
        rules = await asyncio.to_thread(lambda: parse_rules(self._look.text(source), source))
        if rules.resource_rules:
            _LOG.warning("%s: resourceRules: %s", rules.resource_rules[0].place, RESOURCES_NOT_SERVED)
        return rules


@dataclass(frozen=True, slots=True)
class Ruled:
    """A file of rules: how it is evaluated, what it says at the start, and what follows it."""

    settings: AdapterRulesSettings
    first: RulesFile
    watch: RulesWatch


async def load_rules(settings: PrometheusSettings) -> Ruled | None:
    """The rules that the configuration names; None: it names none. Raises `ConfigError`."""
    if settings.servers:
        # The client library takes its time, and is imported only where a Prometheus is asked.
        await asyncio.to_thread(import_module, "infscale.serving.prometheus.ruling")
    if settings.adapter_rules is None:
        return None
    watch = RulesWatch(settings.adapter_rules.file)
    return Ruled(settings.adapter_rules, await watch.first(), watch)
