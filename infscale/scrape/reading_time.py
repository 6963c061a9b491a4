"""How much of this process reading the pages of one target may take.

Reading is work that nothing interrupts: what else is due waits for it. A page that says the same words as before is
read in a millisecond or two; one whose words are others each time takes fifty times as long, as often as it is scraped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

TOO_LONG = "its page takes too long to read, so that it is read more rarely"

# What a page of 48 data-parallel ranks takes is a quarter of it.
_EACH_SECONDS = 0.008
_SAVED_SECONDS = 0.25


@dataclass(slots=True, eq=False)
class ReadingTime:
    """The processor time (seconds by `clock`) that one target has left: some for each scrape, saved up to a bound.

    What happens while its context is open is paid for.
    """

    _clock: Callable[[], float]
    _left: float = _SAVED_SECONDS
    _entered: float = 0.0

    def allows(self) -> bool:
        """Another scrape is due: whether there is time to read its page."""
        self._left = min(_SAVED_SECONDS, self._left + _EACH_SECONDS)
        return self._left > 0

    def __enter__(self) -> None:
        self._entered = self._clock()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._left -= self._clock() - self._entered
