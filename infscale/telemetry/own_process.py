"""The process itself as Prometheus metrics: what it costs, and which version it is."""

import platform
from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector as UsualMetrics

from infscale import __version__
from infscale.metrics.store import metrics_store as store
from infscale.telemetry.own_metrics import BlockingCollector


class ProcessCollector(BlockingCollector):
    """`process_*`, as every client library of Prometheus has them (Linux), and `infscale_build_info`.

    They are of the process that decides and answers; those that scrape beside it are not in them.
    """

    def __init__(self) -> None:
        # It would put itself into the library's registry otherwise.
        self._usual = UsualMetrics(registry=None)

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        yield from self._usual.collect()
        info = GaugeMetricFamily(
            "infscale_build_info",
            "1, for the version of infscale, that of Python, and whether what requests pass is compiled to C",
            labels=["version", "python", "compiled"],
        )
        compiled = "no" if str(store.__file__).endswith(".py") else "yes"
        info.add_metric([__version__, platform.python_version(), compiled], 1.0)
        yield info
