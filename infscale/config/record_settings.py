"""`picker.record`: where requests are recorded, and how much of that is kept."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infscale.documents.section import Files, Section
from infscale.documents.strict_document import Field
from infscale.documents.values import whole

_LEAST_BYTES: Final = 64 * 1024
_MOST_BYTES: Final = 64 * 1024**3
_USUAL_BYTES: Final = 256 * 1024**2


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """Requests are recorded in `file`; with the one before it, it takes at most `max_bytes`."""

    file: Path
    max_bytes: int = _USUAL_BYTES


def record_settings(files: Files) -> Callable[[Field], RecordSettings]:
    """A reader of the section."""

    def read(field: Field) -> RecordSettings:
        section = Section(field, RecordSettings, required=["file"])
        file = section.attempt("file", files.written)
        max_bytes = section.get("max_bytes", whole(_LEAST_BYTES, _MOST_BYTES), _USUAL_BYTES)
        return RecordSettings(file.value, max_bytes)

    return read
