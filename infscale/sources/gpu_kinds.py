"""GPU memory and utilisation per endpoint from exporters, which refresh their values every 30 s by default.

There is a kind for each vendor, so that a cluster of several has a section of the configuration for each. A page is
read by what is on it: an exporter of another vendor behind a section is understood, too, as a source of that section.
"""

from functools import partial

from infscale.metrics.pages.gpu_exporters import AMD, DCGM, GPU_EXPORTERS, HAMI, INTEL, GpuExporter
from infscale.metrics.published.gpu_readers import GPU, HAMI_GPU
from infscale.metrics.source import Source
from infscale.sources.exporter import ExporterKind, PageReader, PodOfUid
from infscale.sources.gpu_exporter_page import GpuPageReader
from infscale.sources.source_kind import ScrapeWords

OF_EXPORTERS = ScrapeWords("infscale_exporter_scrape", "exporter", "pages of an exporter of GPU metrics")


def _reader(first: GpuExporter, target: str, pod_of: PodOfUid) -> PageReader:
    del pod_of
    return GpuPageReader(target, (first, *(each for each in GPU_EXPORTERS if each is not first)))


def _kind(key: str, exporter: GpuExporter, port: int, source: Source = GPU) -> ExporterKind:
    return ExporterKind(key, OF_EXPORTERS, source, "GPU values", port, partial(_reader, exporter))


DCGM_KIND = _kind("dcgm", DCGM, 9400)
GPU_KINDS = (
    DCGM_KIND,
    _kind("amd_gpu", AMD, 5000),
    _kind("intel_gpu", INTEL, 29999),
    _kind("hami", HAMI, 9394, HAMI_GPU),
)
"""By the keys of their sections, with the ports that their pods usually have."""
