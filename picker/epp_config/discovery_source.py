"""The endpoints file that an `EndpointPickerConfig` names instead of a cluster."""

from dataclasses import dataclass, field
from pathlib import Path

from infscale.documents.strict_document import Field
from picker.epp_config.parameters import file_path
from picker.epp_config.registry import CLUSTER_FILE, Plugin


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file of endpoints, read once or followed with `watch`; relative paths start at the working directory.

    `place` is where the configuration asks for it, which makes no other source of it. With `clusters` each endpoint
    stands for a remote cluster.
    """

    path: Path
    watch: bool
    place: str = field(compare=False)
    clusters: bool = False


def read_reference(field: Field, *, current: bool) -> Field:
    """The `pluginRef` of ``dataLayer.discovery``: below ``endpoints``, and before the `current` form also without."""
    entry = field.mapping(optional=("endpoints", "pluginRef"))
    if len(entry) != 1:
        field.refuse("expected either pluginRef or endpoints.pluginRef")
    if current and "pluginRef" in entry:
        field.refuse("in this apiVersion it is discovery.endpoints.pluginRef")
    if "endpoints" in entry:
        return entry["endpoints"].mapping(required=("pluginRef",))["pluginRef"]
    return entry["pluginRef"]


def read_source(plugin: Plugin, reference: Field) -> FileSource:
    """What a plugin says that is a file of endpoints. Raises `ConfigError`."""
    given = plugin.given.read("path", "watchFile")
    path = given.get("path")
    if path is None:
        (plugin.given.parameters or plugin.given.declared).refuse("path is missing: the file of the endpoints")
    clusters = plugin.type == CLUSTER_FILE
    return FileSource(file_path(path), given.boolean("watchFile", False), reference.place, clusters)
