"""The one configuration file of `infscale serve`: what it can say, and how it is read.

`load_config` gives a `ServeConfig`; `docs/configuration.md` has a table of every key.
"""

from infscale.config.read import load_config, read_config, read_text
from infscale.config.settings import (
    AdapterSettings,
    DiscoverySettings,
    FormulaSettings,
    ForwardSettings,
    KedaSettings,
    KubernetesDiscoverySettings,
    KubernetesSettings,
    ListenAddress,
    LogSettings,
    PickerSettings,
    PickerTlsFiles,
    PoolOverrides,
    ScrapeSettings,
    ServeConfig,
    TelemetrySettings,
    TlsFiles,
)

__all__ = [
    "AdapterSettings",
    "DiscoverySettings",
    "FormulaSettings",
    "ForwardSettings",
    "KedaSettings",
    "KubernetesDiscoverySettings",
    "KubernetesSettings",
    "ListenAddress",
    "LogSettings",
    "PickerSettings",
    "PickerTlsFiles",
    "PoolOverrides",
    "ScrapeSettings",
    "ServeConfig",
    "TelemetrySettings",
    "TlsFiles",
    "load_config",
    "read_config",
    "read_text",
]
