"""``dataLayer`` of an `EndpointPickerConfig`, in the current form and the one before."""

from collections.abc import Mapping, Sequence

from infscale.documents.strict_document import Field
from picker.epp_config.parameters import note

_ALONE = "replicas that tell each other what they do are not available in this version"
_KEYS = ("discovery", "injectDefaults", "peerDiscovery", "sources")
_CURRENT_KEYS = (*_KEYS, "crossReplica")
_BEFORE = {"crossReplicaSyncInterval": "syncInterval", "crossReplicaSyncerPluginRef": "syncerPluginRef"}


def read_data_layer(field: Field, *, current: bool) -> tuple[Mapping[str, Field], Sequence[str]]:
    """The keys of the section, and notes on what changes nothing; what cannot be honoured is refused.

    `current` is the form of ``llm-d.ai/v1``; the one before spells what is between replicas out in single keys.
    Raises `ConfigError`.
    """
    entry = field.mapping(optional=(*_CURRENT_KEYS, *_BEFORE))
    for name in _BEFORE:
        if current and name in entry:
            entry[name].report(f"in this apiVersion it is crossReplica.{_BEFORE[name]}")
    if not current and "crossReplica" in entry:
        entry["crossReplica"].report("goes with apiVersion llm-d.ai/v1")
    if "peerDiscovery" in entry:
        entry["peerDiscovery"].report(_ALONE)
    if "injectDefaults" in entry:
        entry["injectDefaults"].attempt(Field.boolean)
    between = {name: entry[old] for old, name in _BEFORE.items() if old in entry}
    if "crossReplica" in entry:
        keys = ("syncerPluginRef", "syncInterval", "publishTimeout")
        between |= entry["crossReplica"].attempt(lambda each: each.mapping(optional=keys)).or_else({})
    return entry, _between_replicas(between)


def _between_replicas(given: Mapping[str, Field]) -> Sequence[str]:
    """Refuse what makes replicas talk; how often they would is only noted."""
    notes: list[str] = []
    for name, field in given.items():
        if name == "syncerPluginRef":
            field.report(_ALONE)
        elif not field.attempt(Field.duration).refused:
            notes.append(note(field, f"has no effect here: {_ALONE}"))
    return notes
