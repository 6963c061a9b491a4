"""An `EndpointPickerConfig` from a file, with the plugins that installed packages offer."""

from importlib.metadata import entry_points
from pathlib import Path

from infscale.documents.watched_file import look_at
from infscale.serving.sessions.key_files import with_session_keys
from picker.epp_config.extensions import ENTRY_POINTS, with_entry_points
from picker.epp_config.loader import PickerConfig, load_picker_config
from picker.epp_config.registry import BUILT_IN


def read_picker_config(path: Path, *, keys: bool = True) -> PickerConfig:
    """The configuration in the file at `path`; `keys` as in `parse_picker_config`. Raises `ConfigError`.

    Reads files and imports what entry points name: call it in a thread where a loop runs.
    """
    return parse_picker_config(look_at(path).text(str(path)), str(path), keys=keys)


def parse_picker_config(text: str, source: str, *, keys: bool = True) -> PickerConfig:
    """As `read_picker_config`, of the `text` that `source` has; without `keys` those of its sessions are not read."""
    plugins = with_entry_points(BUILT_IN, entry_points(group=ENTRY_POINTS))
    config = load_picker_config(text, source, plugins)
    return with_session_keys(config) if keys else config
