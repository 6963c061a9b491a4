"""What servers say of themselves over gRPC's health protocol: whether they take requests, and what they serve."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from infscale.discovery import names
from infscale.documents import values
from infscale.documents.section import NOT_A_KEY, Files, Section
from infscale.documents.strict_document import Field
from infscale.endpoint import DiscoveryState, ObjectKey
from infscale.metrics.pages.bounds import MAX_NAME_LENGTH
from infscale.periodic import Clock, ScrapeHealth
from infscale.sources.health_names import MOST_NAMES
from infscale.sources.source_kind import ExporterPods, RunningSource, ScrapeWords, SourceSink

if TYPE_CHECKING:
    import random

_LONGEST_INTERVAL: Final = 60.0


@dataclass(frozen=True, slots=True)
class HealthTls:
    """PEM files for TLS: authorities to believe instead of the system's, and a certificate to show with its key.

    They are read for each connection, so that changed ones are followed. `server_name` is the name that a server's
    certificate has to have, where that is not its address.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class GrpcHealthSettings:
    """Which servers are asked, and for what; nothing is asked unless `asked`.

    `port` None: each endpoint's own. `service` is the name under which a server tells its own readiness. `names` are
    models and LoRA adapters to ask for, with `discovered_names` beside those of objectives and rewrites. `pools`: whose
    endpoints (none: of all). `tls` None: in plain text.
    """

    asked: bool = field(default=False, metadata=NOT_A_KEY)
    port: int | None = None
    service: str = ""
    names: tuple[str, ...] = ()
    discovered_names: bool = True
    pools: tuple[ObjectKey, ...] = ()
    interval_seconds: float = 5.0
    timeout_seconds: float = 4.0
    tls: HealthTls | None = None

    @property
    def pods(self) -> ExporterPods | None:
        """See `SourceSettings`."""
        return None

    def source(self, sink: SourceSink, clock: Clock, rng: "random.Random") -> RunningSource:
        """See `SourceSettings`."""
        if not self.asked:
            return _NothingAsked()
        # gRPC takes 20 MiB, which a process that asks no server need not have.
        from infscale.sources.health_source import GrpcHealthSource

        return GrpcHealthSource(self, sink, clock, rng)


class _NothingAsked:
    """The source of a configuration without one."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def sync(self, state: DiscoveryState) -> None:
        """See `RunningSource`."""
        del state

    def health(self) -> dict[str, ScrapeHealth]:
        """See `RunningSource`."""
        return {}


@dataclass(frozen=True, slots=True)
class GrpcHealthKind:
    """The kind of source; see `SourceKind`."""

    key: str
    words: ScrapeWords

    def default(self) -> GrpcHealthSettings:
        """See `SourceKind`."""
        return GrpcHealthSettings()

    def read(self, section: Field, files: Files) -> GrpcHealthSettings:
        """See `SourceKind`."""
        default = self.default()
        given = Section(section, GrpcHealthSettings)
        interval, timeout = values.pace(given, default.interval_seconds)
        if interval > _LONGEST_INTERVAL:
            given.refuse(["interval_seconds"], f"expected at most {_LONGEST_INTERVAL:g}, got {interval:g}")
        return GrpcHealthSettings(
            True,
            given.get("port", values.port, default.port),
            given.get("service", _service, default.service),
            given.get("names", _names, default.names),
            given.get("discovered_names", Field.boolean, default.discovered_names),
            given.get("pools", _pools, default.pools),
            interval,
            timeout,
            given.get("tls", partial(_tls, files=files), None),
        )


GRPC_HEALTH: Final = GrpcHealthKind(
    "grpc_health", ScrapeWords("infscale_grpc_health_round", "endpoint", "gRPC health of an endpoint", sized=False)
)


def _service(field: Field) -> str:
    return _bounded(field, field.text(empty=True))


def _names(field: Field) -> tuple[str, ...]:
    if len(field.items()) > MOST_NAMES:
        field.refuse(f"expected at most {MOST_NAMES} names, got {len(field.items())}")
    return values.different(field, lambda each: _bounded(each, each.text()))


def _bounded(field: Field, name: str) -> str:
    if len(name) > MAX_NAME_LENGTH:
        field.refuse(f"expected at most {MAX_NAME_LENGTH} letters, got {len(name)}")
    return name


def _pools(field: Field) -> tuple[ObjectKey, ...]:
    return tuple(
        ObjectKey(*each.split("/")) for each in values.different(field, lambda item: str(names.object_key(item)))
    )


def _tls(field: Field, files: Files) -> HealthTls:
    section = Section(field, HealthTls)
    for one, other in (("certificate", "key"), ("key", "certificate")):
        if other not in section.given:
            section.refuse([one], f"goes with {other}")
    ca, certificate, key = (section.get(each, files.path, None) for each in ("ca", "certificate", "key"))
    return HealthTls(ca, certificate, key, section.get("server_name", Field.text, None))
