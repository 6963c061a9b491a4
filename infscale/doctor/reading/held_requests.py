"""Whether requests wait in the picker, by infscale's configuration and the scheduling that it names."""

from collections.abc import Mapping

from infscale.config.read import read_text
from infscale.config.settings import ServeConfig
from infscale.errors import ConfigError
from infscale.serving.picker_config import parse_picker_config
from picker.epp_config.loader import PickerConfig, preset


def holds_requests(config: ServeConfig, texts: Mapping[str, str] | None = None) -> bool | None:
    """Whether requests wait by `config`; None: its scheduling is not there, or not sound, which `infscale check` says.

    `texts` are the files of its ConfigMaps by their names; None: the files are on this machine.
    """
    given = config.picker.flow_control.enabled
    if given is not None:
        return given
    try:
        scheduling = _scheduling(config, texts)
    except ConfigError:
        return None
    return None if scheduling is None else scheduling.flow is not None or scheduling.clocked


def _scheduling(config: ServeConfig, texts: Mapping[str, str] | None) -> PickerConfig | None:
    picker = config.picker
    if picker.config_file is not None:
        text = read_text(picker.config_file) if texts is None else texts.get(picker.config_file.name)
        return None if text is None else parse_picker_config(text, str(picker.config_file), keys=False)
    return None if picker.preset is None else preset(picker.preset)
