"""What is scraped."""

import math
from dataclasses import dataclass

from infscale.endpoint import Endpoint, EndpointKey
from infscale.metrics.dialects import VLLM, Dialect, dialect_for


@dataclass(frozen=True, slots=True)
class Target:
    """The metrics page of one endpoint; `dialect` None: found out from the page.

    The timeout is shorter than the interval, so that a scrape is over before the next one is due.
    """

    key: EndpointKey
    url: str
    dialect: Dialect | None = VLLM
    interval_seconds: float = 0.5
    timeout_seconds: float = 0.4

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError("a target's URL starts with http:// or https://")
        if not 0 < self.timeout_seconds < self.interval_seconds < math.inf:
            raise ValueError("a target needs 0 < timeout_seconds < interval_seconds")


@dataclass(frozen=True, slots=True)
class TargetTemplate:
    """How targets are made from endpoints: where their page is and how often it is wanted.

    `default_dialect` is for endpoints whose labels name none; None: found out from the page.
    """

    scheme: str = "http"
    path: str = "/metrics"
    interval_seconds: float = 0.5
    timeout_seconds: float = 0.4
    default_dialect: Dialect | None = VLLM

    def target(self, endpoint: Endpoint) -> Target:
        """The target for `endpoint`, in the dialect its labels name."""
        return Target(
            key=endpoint.key,
            url=f"{self.scheme}://{endpoint.metrics_authority}{self.path}",
            dialect=dialect_for(endpoint.labels, self.default_dialect),
            interval_seconds=self.interval_seconds,
            timeout_seconds=self.timeout_seconds,
        )
