"""Readings of many objects, kept as columns: one answer is made of a thousand of them."""

from collections.abc import Sequence
from typing import overload

import numpy as np

from infscale.endpoint import ObjectKey
from infscale.metrics.sample import FloatArray, Reading


class Readings(Sequence[tuple[ObjectKey, Reading]]):
    """Objects and their readings. `windows` has the seconds behind each value, None where all are of one moment."""

    __slots__ = ("at", "objects", "values", "windows")

    def __init__(
        self, objects: Sequence[ObjectKey], values: FloatArray, at: FloatArray, windows: FloatArray | None = None
    ) -> None:
        self.objects = objects
        self.values = values
        self.at = at
        self.windows = windows

    @classmethod
    def of(cls, pairs: Sequence[tuple[ObjectKey, Reading]]) -> "Readings":
        """These readings; a window of 0 seconds where only others have one."""
        if isinstance(pairs, Readings):
            return pairs
        objects = [key for key, _ in pairs]
        values, at = np.array([each.value for _, each in pairs]), np.array([each.at for _, each in pairs])
        seconds = [each.window_seconds for _, each in pairs]
        windowed = any(each is not None for each in seconds)
        return cls(objects, values, at, np.array([each or 0.0 for each in seconds]) if windowed else None)

    @classmethod
    def joined(cls, parts: Sequence["Readings"]) -> "Readings":
        """The readings of several, in order; at least one."""
        if len(parts) == 1:
            return parts[0]
        objects = [each for part in parts for each in part.objects]
        windowed = [part.windows for part in parts if part.windows is not None]
        return cls(
            objects,
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.at for part in parts]),
            np.concatenate(windowed) if len(windowed) == len(parts) else None,
        )

    @property
    def window_seconds(self) -> float | None:
        """How far back the observations behind these values reach; None for values of one moment."""
        return None if self.windows is None or not len(self.windows) else float(np.maximum.reduce(self.windows))

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, place: int) -> tuple[ObjectKey, Reading]: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[tuple[ObjectKey, Reading]]: ...

    def __getitem__(self, place: int | slice) -> tuple[ObjectKey, Reading] | Sequence[tuple[ObjectKey, Reading]]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        window = None if self.windows is None else float(self.windows[place])
        return self.objects[place], Reading(float(self.values[place]), float(self.at[place]), window)
