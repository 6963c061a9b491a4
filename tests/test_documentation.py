"""The READMEs' tables say what the code has, no more and no less."""

import re
from pathlib import Path

from adapter.server.connections import CAUSES
from picker.epp_config.loader import load_picker_config
from picker.epp_config.presets import PRESETS
from picker.epp_config.registry import KINDS, Kind
from picker.transport.limits import MEANINGS

ROOT = Path(__file__).parent.parent


def rows(document: str, heading: str) -> list[list[str]]:
    """The cells of the first table below `heading`."""
    text = (ROOT / document).read_text()
    section = text[text.index(heading) :]
    lines = section[section.index("\n|") + 1 :].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_picker_readme_has_every_plugin_and_its_kind() -> None:
    words = {
        Kind.FILTER: "filter",
        Kind.SCORER: "scorer",
        Kind.FILTER_AND_SCORER: "filter and scorer",
        Kind.PICKER: "picker",
        Kind.HANDLER: "profile handler",
        Kind.DECIDER: "decider",
        Kind.HEADER_HANDLER: "header handler",
        Kind.ADMITTER: "admitter",
        Kind.SCREENER: "screener",
        Kind.DETECTOR: "saturation",
        Kind.PARSER: "parser",
        Kind.PRODUCER: "producer",
        Kind.DATA: "data",
        Kind.DISCOVERY: "discovery",
        Kind.REPORTER: "reporter",
        Kind.ORDERING: "ordering",
        Kind.FAIRNESS: "fairness",
        Kind.CEILINGS: "usage limit",
        Kind.BAND_ORDER: "band order",
        Kind.EVICTION_FILTER: "eviction filter",
        Kind.EVICTION_ORDER: "eviction order",
    }
    documented = {name.strip("`"): kind for name, kind, _ in rows("picker/README.md", "## Plugins")}
    assert documented == {name: words[kind] for name, kind in KINDS.items()}


def test_the_picker_readme_has_every_preset() -> None:
    assert {name.strip("`") for name, _ in rows("picker/README.md", "## Choosing how it schedules")} == set(PRESETS)


def test_the_picker_readmes_configurations_can_be_used() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "picker/README.md").read_text(), re.DOTALL)
    configurations = [block for block in blocks if "kind: EndpointPickerConfig" in block]
    assert configurations
    for each in configurations:
        load_picker_config(each, "README.md")


def test_the_limits_of_both_ports_are_those_that_are_counted() -> None:
    gateways = {name.strip("`") for name, _, _ in rows("docs/hardening.md", "## Gateways")}
    assert gateways == set(MEANINGS)
    users = " ".join(told for _, _, told in rows("docs/hardening.md", "## Users of the metrics APIs"))
    assert set(CAUSES) == set(re.findall(r"\(`([a-z_]+)`\)", users))


def test_links_between_documents_lead_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/README.md")]
    for document in documents:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.relative_to(ROOT)}: {target}"
