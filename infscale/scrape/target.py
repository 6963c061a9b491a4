"""What is scraped."""

import math
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from infscale.endpoint import Endpoint, EndpointKey
from infscale.metrics.pages.dialect import Dialect
from infscale.metrics.pages.dialects import DIALECTS, PAGE_PATH, VLLM
from infscale.metrics.pages.written_dialects import Engines
from infscale.scrape.tls_trust import PageCertificates


@dataclass(frozen=True, slots=True)
class Target:
    """The metrics page of one endpoint; `dialect` None: that of `candidates` which the page is in.

    The timeout is shorter than the interval, so that a scrape is over before the next one is due. Without `verify_tls`
    any certificate will do; `certificates` None: the system's. `h2c`: the server speaks HTTP/2 in plain text.
    """

    key: EndpointKey
    url: str
    dialect: Dialect | None = VLLM
    interval_seconds: float = 0.5
    timeout_seconds: float = 0.4
    candidates: tuple[Dialect, ...] = tuple(DIALECTS.values())
    verify_tls: bool = True
    certificates: PageCertificates | None = None
    h2c: bool = False

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError("a target's URL starts with http:// or https://")
        if not 0 < self.timeout_seconds < self.interval_seconds < math.inf:
            raise ValueError("a target needs 0 < timeout_seconds < interval_seconds")


@dataclass(frozen=True, slots=True)
class TargetTemplate:
    """How targets are made from endpoints: where their page is, what it speaks and how often it is wanted.

    At the usual `path` a dialect may have its page elsewhere; any other is that of all of them. `port` None: the
    endpoint's own for metrics.
    """

    scheme: str = "http"
    path: str = PAGE_PATH
    interval_seconds: float = 0.5
    timeout_seconds: float = 0.4
    engines: Engines = field(default_factory=Engines)
    port: int | None = None
    verify_tls: bool = True
    certificates: PageCertificates | None = None

    def targets(self, endpoints: Iterable[Endpoint], h2c: Container[EndpointKey] = ()) -> list[Target]:
        """A target for each of `endpoints`, in the dialect its labels name; those of `h2c` serve HTTP/2."""
        # One tuple for all: where targets are compared or sent on, it counts once.
        candidates = tuple(self.engines.dialects.values())
        return [self._target(each, candidates, each.key in h2c) for each in endpoints]

    def _target(self, endpoint: Endpoint, candidates: tuple[Dialect, ...], h2c: bool) -> Target:
        # A page beside the port that serves is another program's, which speaks as all others do.
        same = endpoint.metrics_address is None and (self.port or endpoint.metrics_port) in (None, endpoint.port)
        dialect = self.engines.dialect(endpoint.labels, endpoint.engine)
        path = self.path if self.path != PAGE_PATH or dialect is None else dialect.path or PAGE_PATH
        return Target(
            key=endpoint.key,
            url=f"{self.scheme}://{endpoint.metrics_authority(self.port)}{path}",
            dialect=dialect,
            interval_seconds=self.interval_seconds,
            timeout_seconds=self.timeout_seconds,
            candidates=candidates,
            verify_tls=self.verify_tls,
            certificates=self.certificates,
            h2c=h2c and same and self.scheme == "http",
        )
