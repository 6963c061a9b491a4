"""PEM files that TLS is served with, followed while the program runs, and what is wrong with them in words."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from infscale.documents.watched_file import Look, look_at
from infscale.errors import StartError

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of the serving certificate (chain included) and its key.

    With `client_ca` only clients with a certificate of that authority are served (mutual TLS).
    With `reload` files that change are used for new connections. `min_version` is the oldest TLS that is spoken.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    reload: bool = False
    min_version: Literal["1.2", "1.3"] = "1.2"

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them: certificate, key, and the authority of clients where there is one."""
        return (self.certificate, self.key, *([self.client_ca] if self.client_ca is not None else []))


class FollowedFiles:
    """Files that `who` serves with, a certificate first; `use` has new connections served with what they contain.

    `load` before serving, then `follow`, or `refresh` now and then. Files are compared by content. `use` raises OSError
    or ValueError where they do not work; after the first time this is a line in the log, once per content, and what was
    served stays.
    """

    def __init__(self, who: str, files: Sequence[Path], use: Callable[[Sequence[bytes]], Awaitable[None]]) -> None:
        self._who = who
        self._files = files
        self._use = use
        self._tried: Sequence[Look] = ()

    async def load(self) -> None:
        """Use the files for the first time. Raises `StartError` where they do not work."""
        try:
            await self._try(await self._looks())
        except ValueError as error:
            raise StartError(f"{self._who} cannot serve with {error}; give a PEM certificate and its PEM key") from None

    async def follow(self, every_seconds: float) -> None:
        """Use the files whenever they have changed, for ever."""
        while True:
            await asyncio.sleep(every_seconds)
            await self.refresh()

    async def refresh(self) -> bool:
        """Use the files if they have changed and work; says whether both is so."""
        looks = await self._looks()
        if looks == self._tried:
            return False
        try:
            await self._try(looks)
        except ValueError as error:
            _log.warning("the changed certificate is refused, the old one stays: %s", error)
            return False
        _log.info("serving with the changed certificate in %s", self._files[0])
        return True

    async def _looks(self) -> Sequence[Look]:
        return [await asyncio.to_thread(look_at, path) for path in self._files]

    async def _try(self, looks: Sequence[Look]) -> None:
        """Raises ValueError that names the file and says what is wrong."""
        self._tried = looks
        for path, look in zip(self._files, looks, strict=True):
            if look.problem:
                raise ValueError(f"{path}: {look.problem}")
        try:
            await self._use([look.content for look in looks])
        except (OSError, ValueError) as error:
            raise ValueError(f"{self._files[0]}: {tls_problem(error)}") from None


def tls_problem(error: OSError | ValueError) -> str:
    """What is wrong with files of a certificate, by the error that OpenSSL or reading them ended with."""
    if isinstance(error, ssl.SSLError):
        return f"not PEM, or no certificate with its key ({error.reason or 'unreadable'})"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)


def no_password() -> str:
    """For OpenSSL, which otherwise asks for the password of an encrypted key on the terminal. Raises ValueError."""
    raise ValueError("the key is encrypted, and nothing here can type a password")
