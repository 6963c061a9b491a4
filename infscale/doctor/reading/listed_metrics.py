"""Names of metrics: what the metrics APIs list, and what a file of prometheus-adapter's rules shows."""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from adapter.api.paths import CUSTOM_GROUP, EXTERNAL_GROUP
from infscale.config.read import read_text
from infscale.config.settings import ServeConfig
from infscale.doctor.reading.asking import Asking
from infscale.doctor.view.seen_scalers import SeenAutoscaler
from infscale.errors import ConfigError
from infscale.kube.api.errors import KubeError
from infscale.prometheus.rules.rules_file import parse_rules
from infscale.prometheus.rules.rules_report import metrics_shown

_GROUPS: Mapping[str, str] = {"Pods": CUSTOM_GROUP, "Object": CUSTOM_GROUP, "External": EXTERNAL_GROUP}
"""The group of the API that a form of metric is asked of."""


async def listed_metrics(
    asking: Asking, autoscalers: Iterable[SeenAutoscaler], custom_version: str
) -> Mapping[str, frozenset[str]]:
    """The names that the APIs list of which HPAs ask, by the forms of metrics; of an API that does not answer, none.

    Of a metric of several kinds of objects the custom API has a resource each: ``pods/NAME``, ``services/NAME``.
    """
    forms = {each.form for one in autoscalers for each in one.metrics}
    versions = {CUSTOM_GROUP: custom_version, EXTERNAL_GROUP: "v1beta1"}
    found: dict[str, frozenset[str]] = {}
    for group in dict.fromkeys(_GROUPS[form] for form in sorted(forms & _GROUPS.keys())):
        with suppress(KubeError):
            document = await asking.get(f"/apis/{group}/{versions[group]}")
            names = (each.at("name").text() for each in document.at("resources").items())
            found[group] = frozenset(name.partition("/")[2] or name for name in names)
    return {form: found[group] for form, group in _GROUPS.items() if group in found}


def metrics_of_rules(config: ServeConfig, texts: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The metrics of the rules that `config` names, as far as their file shows them.

    `texts` are the files of its ConfigMaps by their names; None: the file is on this machine. A file that is not there
    or not sound shows nothing: `infscale check` says why.
    """
    rules = config.prometheus.adapter_rules
    if rules is None:
        return ()
    with suppress(ConfigError):
        text = read_text(rules.file) if texts is None else texts.get(rules.file.name)
        if text is not None:
            return metrics_shown(parse_rules(text, str(rules.file)))
    return ()
