"""Gives memory back to the system after it was full of bodies."""

from typing import Final

from infscale.process.garbage import return_free_memory
from picker.transport.budget import Budget

_MANY_BYTES: Final = 16 << 20


class MemoryReturn:
    """Notices when much was held and little of it is left: the C library keeps what lies between pieces otherwise."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def look(self) -> None:
        """To be asked again and again; it takes some milliseconds where there is something to give back."""
        budget = self._budget
        # Not what is held at the moment: a body may come and go between two looks.
        if budget.most_bytes >= _MANY_BYTES and budget.held_bytes < budget.most_bytes // 4:
            budget.most_bytes = budget.held_bytes
            return_free_memory()
