"""What a part of the program asks of the API server, by verb: `KubeClient` has them all, a part names those it takes.

Paths are whole (``/api/v1/pods``). Every method raises `infscale.kube.api.errors.KubeError`.
"""

import enum
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Protocol

JsonObject = dict[str, Any]


class PatchKind(enum.Enum):
    """How a patch is meant; the values are content types."""

    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


class Gets(Protocol):
    """Reads."""

    async def get(self, path: str, params: Mapping[str, str] = ...) -> JsonObject:
        """The object, list or document at `path`."""
        ...


class Creates(Protocol):
    """Makes new objects."""

    async def create(self, path: str, body: JsonObject) -> JsonObject:
        """Create `body` in the collection at `path` and return what became of it."""
        ...


class Updates(Protocol):
    """Replaces objects."""

    async def update(self, path: str, body: JsonObject) -> JsonObject:
        """Replace the object at `path`; `Conflict` where it has another `resourceVersion` by now."""
        ...


class Patches(Protocol):
    """Changes objects."""

    async def patch(self, path: str, body: JsonObject, *, kind: PatchKind = ...) -> JsonObject:
        """Change the object at `path`, by a merge patch unless `kind` says otherwise."""
        ...


class Follows(Gets, Protocol):
    """Reads, and is told of changes."""

    def watch(self, path: str, params: Mapping[str, str]) -> AsyncGenerator[JsonObject, None]:
        """The events at `path` until the server ends the watch."""
        ...
