"""Where scheduling comes from: a preset, a text, or an `EndpointPickerConfig` file that is followed while it serves."""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from infscale.config.settings import ServeConfig
from infscale.documents.watched_file import Look, WatchedFile
from infscale.endpoint import ObjectKey
from infscale.errors import ConfigError
from infscale.metrics.snapshot import PoolSettings
from infscale.process.log import where
from infscale.serving.picker_config import parse_picker_config
from picker.epp_config.loader import DIGEST_DIGITS, PickerConfig, preset
from picker.telemetry.counts import ReloadStats

_LOG = logging.getLogger(__name__)

CONFIG_TEXT = "--config-text"
"""What errors call a configuration that came as text."""


class SchedulingFile:
    """Follows an `EndpointPickerConfig` file; guards the last look at it, and `stats` on what became of its changes."""

    def __init__(self, path: Path, interval_seconds: float) -> None:
        self._file = WatchedFile(path, interval_seconds)
        self._look = Look()
        self.stats = ReloadStats("")

    async def first(self) -> PickerConfig:
        """The configuration to start with. Raises `ConfigError`."""
        self._look = await self._file.look()
        config = await self._parsed()
        self.stats.digest = self._digest()
        return config

    async def follow(self, apply: Callable[[PickerConfig], None]) -> None:
        """Until cancelled, `apply` each new version of the file from `first` on.

        A version that does not parse, or for which `apply` raises `ConfigError`, is said in the log and counted; the
        version before it stays in force, so `apply` has to change everything or nothing.
        """
        while True:
            self._look = await self._file.changed(self._look)
            try:
                config = await self._parsed()
                apply(config)
            except ConfigError as error:
                self._refuse(str(error))
            except Exception as error:
                # The top of the loop: a fault in another package's plugin must not end what has been serving so far.
                self._refuse(f"{self._file.path}: internal error in reading it ({where(error)})")
            else:
                self._accept(config)

    async def _parsed(self) -> PickerConfig:
        source = str(self._file.path)
        return await asyncio.to_thread(lambda: parse_picker_config(self._look.text(source), source))

    def _digest(self) -> str:
        return hashlib.sha256(self._look.content).hexdigest()[:DIGEST_DIGITS]

    def _accept(self, config: PickerConfig) -> None:
        self.stats.digest, self.stats.succeeded = self._digest(), True
        self.stats.applied += 1
        fields = {"file": str(self._file.path), "sha256": self.stats.digest}
        _LOG.info("picker configuration changed", extra={"fields": fields})
        log_notes(config)

    def _refuse(self, problem: str) -> None:
        self.stats.succeeded = False
        self.stats.refused += 1
        _LOG.error("changed picker configuration refused, the one before stays in force: %s", problem)


def log_notes(config: PickerConfig) -> None:
    """Say in the log what of a configuration is accepted and decided elsewhere."""
    for note in config.notes:
        _LOG.info("picker configuration: %s", note)


async def load_scheduling(config: ServeConfig) -> tuple[PickerConfig, SchedulingFile | None]:
    """The scheduling the configuration names, and its file where there is one. Raises `ConfigError`."""
    picker = config.picker
    file = None
    if picker.config_text is not None:
        found = await asyncio.to_thread(parse_picker_config, picker.config_text, CONFIG_TEXT)
    elif picker.config_file is not None:
        file = SchedulingFile(picker.config_file, config.discovery.poll_interval_seconds)
        found = await file.first()
    else:
        found = preset(picker.preset or "infscale")
    source = found.discovery
    if source is not None and not _is_file(source.path, config.discovery.file):
        problem = f"says {source.path}, which is not discovery.file of the configuration; remove one or make them equal"
        raise ConfigError(source.place, "dataLayer.discovery", problem)
    return found, file


def check_change(before: PickerConfig, after: PickerConfig, file: Path | None) -> None:
    """Refuse the change of what is decided at the start. Raises `ConfigError`.

    That is where endpoints come from, and whether requests wait as the reference's configuration says.
    """
    old, new = before.discovery, after.discovery
    if old != new:
        place = new.place if new is not None else str(file or CONFIG_TEXT)
        raise ConfigError(
            place, "dataLayer.discovery", "where endpoints come from cannot change while running; restart"
        )
    if (before.flow is None) is not (after.flow is None):
        problem = "flowControl cannot come or go while running, though what it says may change; restart"
        raise ConfigError(str(file or CONFIG_TEXT), "featureGates", problem)


def _is_file(path: Path, other: Path | None) -> bool:
    return other is not None and path.absolute() == other.absolute()


def pool_settings(config: ServeConfig, scheduling: PickerConfig, pool: ObjectKey) -> PoolSettings:
    """What `pool` is judged by, for picker and adapter alike; two differing sources are a `ConfigError`."""
    overrides = config.pools.get(pool)
    declared_at = overrides.saturation_place if overrides else None
    settings = scheduling.pool_settings(config.pool_settings(pool), declared_at)
    if settings.staleness_limit_seconds < 2 * config.scrape.interval_seconds:
        raise ConfigError(
            str(config.picker.config_file or "preset"),
            "saturationDetector",
            f"the staleness limit of {settings.staleness_limit_seconds:g} s for pool {pool} is less than 2 × the "
            f"scrape interval of {config.scrape.interval_seconds:g} s",
        )
    return settings


def check_pools(config: ServeConfig, scheduling: PickerConfig) -> None:
    """Raise the `ConfigError` of any pool, also of one not discovered yet: it is said now, not when it appears."""
    for pool in (*config.pools, config.discovery.default_pool):
        pool_settings(config, scheduling, pool)
