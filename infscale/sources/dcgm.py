"""GPU memory and utilisation per endpoint from dcgm-exporters, which refresh their values every 30 s by default."""

from infscale.metrics.published.gpu_readers import GPU
from infscale.sources.dcgm_page import DcgmReader
from infscale.sources.exporter import ExporterKind
from infscale.sources.source_kind import ScrapeWords

DCGM = ExporterKind(
    key="dcgm",
    words=ScrapeWords("infscale_exporter_scrape", "exporter", "pages of an exporter of GPU metrics"),
    source=GPU,
    values="GPU values",
    port=9400,
    reader=lambda exporter, _: DcgmReader(exporter),
)
