"""An HPA and a history on disk, and the command that replays them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import yaml

from tests.doctor.replay.replay_hpas import document, external

SAMPLES = [
    {"at": 1e9 + 15 * number, "replicas": 2, "metrics": {"load": {"total": load}}}
    for number, load in enumerate((8, 8, 8, 12))
]


def files(folder: Path, hpa: dict[str, Any] | None = None, samples: Sequence[Any] = SAMPLES) -> list[str]:
    """The command line for files in `folder`."""
    (folder / "hpa.yaml").write_text(yaml.safe_dump(hpa or document(external("load", "4"))))
    (folder / "series.json").write_bytes(orjson.dumps({"version": 1, "samples": samples}))
    return ["doctor", "replay", "--hpa", str(folder / "hpa.yaml"), "--series", str(folder / "series.json")]
