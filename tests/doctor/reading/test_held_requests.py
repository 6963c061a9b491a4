"""Whether requests wait follows from the configuration, and where that says nothing from the scheduling."""

from pathlib import Path

import pytest

from infscale.config.read import read_config
from infscale.doctor.reading.held_requests import holds_requests
from infscale.documents.strict_document import load
from picker.epp_config.presets import PRESETS

DISCOVERY = "discovery: {file: discovery.yaml}\n"


@pytest.mark.parametrize(
    ("picker", "expected"),
    [
        ("{}", True),
        ("{preset: reference}", False),
        ("{flow_control: {enabled: false}}", False),
        ("{preset: reference, flow_control: {enabled: true}}", True),
        ("{config_file: infscale.yaml}", True),
        ("{config_file: reference.yaml}", False),
        ("{config_file: gated.yaml}", True),
        ("{config_file: broken.yaml}", None),
        ("{config_file: gone.yaml}", None),
    ],
)
@pytest.mark.parametrize("mounted", [True, False])
def test_it_is_known_from_the_scheduling(tmp_path: Path, picker: str, expected: bool | None, mounted: bool) -> None:
    """From files of this machine as from those of a ConfigMap."""
    texts = {
        "infscale.yaml": PRESETS["infscale"],
        "reference.yaml": PRESETS["reference"],
        "gated.yaml": PRESETS["reference"] + "\nfeatureGates: [flowControl]\n",
        "broken.yaml": "kind: Nothing",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    config = read_config(load(f"{DISCOVERY}picker: {picker}\n", "serve.yaml"), tmp_path)
    assert holds_requests(config, texts if mounted else None) is expected
