"""Plugins from other packages, found by Python entry points (`ENTRY_POINTS`); see docs/plugins.md."""

from collections.abc import Iterable
from importlib.metadata import EntryPoint

from infscale.errors import ConfigError
from picker.epp_config.registry import KINDS, Plugins

ENTRY_POINTS = "infscale.plugins"


def with_entry_points(plugins: Plugins, found: Iterable[EntryPoint]) -> Plugins:
    """`plugins` and those of every entry point, which has to lead to a `Plugins`. Raises `ConfigError`.

    Types of the reference picker that are not available here may be filled in; nothing built in can be replaced, since
    a configuration would mean something else where a package happens to be installed.
    """
    for entry in found:
        place = f"entry point {entry.name} = {entry.value}"
        try:
            offered = entry.load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(place, "", f"cannot be loaded: {error}; reinstall or remove its package") from error
        if not isinstance(offered, Plugins):
            problem = f"expected a picker.epp_config.registry.Plugins, got {type(offered).__name__}"
            raise ConfigError(place, "", problem)
        taken = (set(KINDS) | set(plugins.types())) & set(offered.types())
        if taken:
            raise ConfigError(place, "", f"there is already a plugin type {min(taken)!r}; choose another name")
        plugins = plugins.joined(offered)
    return plugins
