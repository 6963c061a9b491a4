"""Cases from the reference projects' own unit tests, by the name of what they test."""

import json
from pathlib import Path
from typing import Any

TABLES: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "unit_tables.json").read_text())["tables"]
