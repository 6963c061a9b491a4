"""Session tokens: 64 characters that say where a session is to pickers with the same keys, and nothing to anyone else.

A token is encrypted and authenticated in the manner of SIV (RFC 5297) with two pseudo-random functions: the tag is the
HMAC-SHA256 of the pool and the content, and the keyed BLAKE2b of the tag is the key stream that hides the content, at a
fraction of the price of another HMAC. So a token of another pool, or one that was changed, is none. No nonce has to be
unique; two sessions differ by their names.

    version 1 byte, key 3, tag 16, content 28: endpoint 12, session 8, placed_at 4, expires_at 4 (Unix seconds)
"""

import binascii
import hmac
import struct
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Literal

from infscale.endpoint import ObjectKey
from infscale.frozen_values import value

TOKEN_LENGTH: Final = 64
ENDPOINT_BYTES: Final = 12
SESSION_BYTES: Final = 8

_VERSION: Final = 1
_KEY_BYTES: Final = 3
_TAG_BYTES: Final = 16
_HEAD: Final = struct.Struct(f"!B{_KEY_BYTES}s{_TAG_BYTES}s")
_CONTENT: Final = struct.Struct(f"!{ENDPOINT_BYTES}s{SESSION_BYTES}sII")
_LATEST: Final = 2**32 - 1
_OF_URLS: Final = bytes.maketrans(b"-_", b"+/")

Refused = Literal["malformed", "unknown_key", "forged", "expired"]
"""Why a token is worth nothing; a forged one may as well be of another pool."""


@value
class Token:
    """What a token says. Times are Unix seconds, whole ones; `old_key`: it was not signed with the key of today."""

    endpoint: bytes
    session: bytes
    placed_at: int
    expires_at: int
    old_key: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class _Key:
    """One secret, and what is derived of it: no key is used for two purposes."""

    name: bytes
    signing: bytes
    hiding: bytes

    @classmethod
    def of(cls, secret: bytes) -> "_Key":
        name, signing, hiding = (
            hmac.digest(secret, b"infscale session " + use, "sha256") for use in (b"name", b"sign", b"hide")
        )
        return cls(name[:_KEY_BYTES], signing, hiding)

    def tag(self, pool: bytes, content: bytes) -> bytes:
        return hmac.digest(self.signing, pool + b"\0" + content, "sha256")[:_TAG_BYTES]

    def hidden(self, tag: bytes, content: bytes) -> bytes:
        """`content` under the key stream of `tag`; the same again undoes it."""
        stream = blake2b(tag, key=self.hiding, digest_size=len(content)).digest()
        number = int.from_bytes(content, "big") ^ int.from_bytes(stream, "big")
        return number.to_bytes(len(content), "big")


class TokenKeys:
    """The keys that tokens are made and read with: the first signs, all are believed. Shows nothing of them."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        if not secrets:
            raise ValueError("there is no key")
        keys = [_Key.of(secret) for secret in secrets]
        self._keys = keys
        self._first = keys[0]
        self._by_name = {key.name: key for key in reversed(keys)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TokenKeys) and self._keys == other._keys

    __hash__ = None  # type: ignore[assignment] # nothing looks them up

    def seal(self, pool: ObjectKey, token: Token) -> str:
        """`token` as a client of `pool` gets it."""
        placed_at, expires_at = (max(0, min(each, _LATEST)) for each in (token.placed_at, token.expires_at))
        content = _CONTENT.pack(token.endpoint, token.session, placed_at, expires_at)
        key = self._first
        tag = key.tag(str(pool).encode(), content)
        return urlsafe_b64encode(_HEAD.pack(_VERSION, key.name, tag) + key.hidden(tag, content)).decode()

    def open(self, pool: ObjectKey, text: str, now: float) -> Token | Refused:
        """What a client of `pool` sent, at Unix time `now`; or why it is worth nothing."""
        if len(text) != TOKEN_LENGTH:
            return "malformed"
        try:
            sealed = binascii.a2b_base64(text.encode("ascii").translate(_OF_URLS), strict_mode=True)
        except (UnicodeEncodeError, binascii.Error):
            return "malformed"
        if len(sealed) != _HEAD.size + _CONTENT.size:
            return "malformed"
        version, name, tag = _HEAD.unpack_from(sealed)
        key = self._by_name.get(name)
        if version != _VERSION or key is None:
            return "unknown_key"
        content = key.hidden(tag, sealed[_HEAD.size :])
        if not hmac.compare_digest(tag, key.tag(str(pool).encode(), content)):
            return "forged"
        endpoint, session, placed_at, expires_at = _CONTENT.unpack(content)
        if expires_at < now:
            return "expired"
        return Token(endpoint, session, placed_at, expires_at, key is not self._first)


def endpoint_mark(name: str) -> bytes:
    """What stands for the endpoint of this name in tokens: the same for its next life under the name."""
    return blake2b(name.encode("utf-8", "surrogatepass"), digest_size=ENDPOINT_BYTES).digest()
