"""What a kind of source is: its section of the configuration, and what runs by it.

`infscale.sources.known_sources` lists the kinds there are. The configuration reads a section for each, the composition
runs what that says, and neither knows more of a source than this.
"""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from infscale.documents.section import Files
from infscale.documents.strict_document import Field
from infscale.endpoint import DiscoveryState, EndpointKey
from infscale.metrics.sample import SourceSample
from infscale.metrics.source import Source
from infscale.periodic import Clock, ScrapeHealth

if TYPE_CHECKING:
    import random


Scheme = Literal["http", "https"]


class SourceSink(Protocol):
    """Takes samples of sources; `at` is the monotonic second the scrape started at. Must not block."""

    def record_beside(self, source: Source, key: EndpointKey, sample: SourceSample, at: float) -> None:
        """Take what `source` says of the endpoint `key`."""
        ...


class RunningSource(AbstractAsyncContextManager["RunningSource"], Protocol):
    """Brings values into a sink while its context is open."""

    def sync(self, state: DiscoveryState) -> None:
        """Ask what there is to be asked by `state`, and record values of exactly its endpoints."""
        ...

    def health(self) -> Mapping[str, ScrapeHealth]:
        """How asking each target goes, by the targets' names."""
        ...


@dataclass(frozen=True, slots=True)
class ExporterPods:
    """Which pods are exporters: by labels in one namespace, all on one port, over http or https."""

    namespace: str
    labels: Mapping[str, str] = field(hash=False)
    port: int
    scheme: Scheme = "http"


class SourceSettings(Protocol):
    """What the configuration says of a source."""

    @property
    def pods(self) -> ExporterPods | None:
        """The pods that discovery is to find for it in the cluster; None: none."""
        ...

    def source(self, sink: SourceSink, clock: Clock, rng: "random.Random") -> RunningSource:
        """What runs by these settings."""
        ...


@dataclass(frozen=True, slots=True)
class ScrapeWords:
    """What metrics say of a source's scrapes: the names' beginning, the label of targets, and what is scraped.

    Without `sized` the sizes of what comes are not told.
    """

    prefix: str
    label: str
    what: str
    sized: bool = True


class SourceKind(Protocol):
    """One kind of source."""

    @property
    def key(self) -> str:
        """Its section of the configuration; pods that discovery finds for it go by this, too."""
        ...

    @property
    def words(self) -> ScrapeWords:
        """What metrics say of it."""
        ...

    def default(self) -> SourceSettings:
        """The settings where the configuration has no such section: nothing is asked."""
        ...

    def read(self, section: Field, files: Files) -> SourceSettings:
        """The settings that a section says; paths in it are of `files`.

        Raises `ConfigError`, or reports, as readers of fields do.
        """
        ...
