"""Which certificates a scrape over https believes, and which it shows."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PageCertificates:
    """PEM files for pages over https; they are read for each connection, so that changed ones are followed.

    `ca` has the authorities to believe instead of the system's. `client` is the certificate to show and its key; None:
    none.
    """

    ca: Path | None = None
    client: tuple[Path, Path] | None = None
