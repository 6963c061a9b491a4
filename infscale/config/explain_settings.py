"""`picker.explain`: of how many decisions inputs are kept, in memory and in a file, and whether clients are told."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infscale.documents.section import Files, Section
from infscale.documents.strict_document import Field
from infscale.documents.values import whole

_USUAL_PICKS: Final = 10_000
_MOST_PICKS: Final = 1_000_000
_LEAST_BYTES: Final = 1024 * 1024
_MOST_BYTES: Final = 64 * 1024**3
_USUAL_BYTES: Final = 256 * 1024**2


@dataclass(frozen=True, slots=True)
class ExplainSettings:
    """The inputs of the last `picks` decisions of each pool are kept, of 0 none.

    They are also written to `file`, where there is one; with the one before it, it takes at most `max_bytes`. `tell`:
    every response has the id of its pick in a header.
    """

    picks: int = _USUAL_PICKS
    file: Path | None = None
    max_bytes: int = _USUAL_BYTES
    tell: bool = False


def explain_settings(files: Files) -> Callable[[Field], ExplainSettings]:
    """A reader of the section."""

    def read(field: Field) -> ExplainSettings:
        section = Section(field, ExplainSettings)
        picks = section.get("picks", whole(0, _MOST_PICKS), _USUAL_PICKS)
        if not picks:
            section.refuse(["file", "tell"], "picks is 0: there is nothing to explain")
        return ExplainSettings(
            picks,
            section.get("file", files.written, None),
            section.get("max_bytes", whole(_LEAST_BYTES, _MOST_BYTES), _USUAL_BYTES),
            section.get("tell", Field.boolean, False),
        )

    return read
