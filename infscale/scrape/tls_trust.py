"""What a scrape over https believes and shows: certificates, and a token."""

from dataclasses import dataclass
from pathlib import Path

from infscale.periodic import FetchError

_MAX_TOKEN_BYTES = 16_384


@dataclass(frozen=True, slots=True)
class PageCertificates:
    """Files for pages over https; PEM files are read for each connection, so that changed ones are followed.

    `ca` has the authorities to believe instead of the system's. `client` is the certificate to show and its key; None:
    none. `server_name` is the name that the server's certificate has; None: the one in its address. `token_file` has a
    bearer token, which is read for each page.
    """

    ca: Path | None = None
    client: tuple[Path, Path] | None = None
    server_name: str | None = None
    token_file: Path | None = None


def read_token(file: Path) -> str:
    """The bearer token in `file`. It blocks. Raises FetchError, without what is in the file, where there is none."""
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_TOKEN_BYTES + 1)
    except OSError as error:
        raise FetchError(f"the token for scraping cannot be read: {error.strerror or 'no file'}") from None
    token = content.strip()
    if not token or len(content) > _MAX_TOKEN_BYTES or not all(0x20 < each < 0x7F for each in token):
        raise FetchError("the token for scraping cannot be used: it is one line of printable characters")
    return token.decode("ascii")
