"""The inputs of a pool's last decisions, bounded by their number and by what they take."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from infscale.metrics.snapshot import IntArray
from picker.epp_config.loader import PickerConfig
from picker.explaining.input_sheet import InputSheet
from picker.explaining.noted_random import Drawn, NotedRandom
from picker.pick_record import PickRecord
from picker.scheduling.plugin import SchedulingContext

if TYPE_CHECKING:
    from random import Random

MOST_BYTES: Final = 64 << 20
"""Of all pools together; of more endpoints fewer decisions are kept."""

MOST_REFUSALS: Final = 1_024
_NOTHING_DRAWN: Final[Drawn] = ()


class PickLog:
    """Keeps the inputs of at least the last `picks` decisions of one pool, as far as `MOST_BYTES` has room for them.

    Stages draw from `rng`, so that it is known what they drew. A decision is told of in three steps: it `begins` before
    its stages run, is noted when they have, and is kept with its record once it was carried out.
    """

    def __init__(self, picks: int, rng: "Random", closed: Callable[[InputSheet], None] | None = None) -> None:
        """`closed` is told of each sheet to which nothing is added any more."""
        self._closed = closed
        self._most = picks
        self._most_bytes = MOST_BYTES
        self.rng = NotedRandom(rng)
        self.refusals: deque[PickRecord] = deque(maxlen=MOST_REFUSALS)
        """The last requests that waited and were refused, which no stage decided about."""
        self._sheets: deque[InputSheet] = deque()
        self._full_bytes = 0
        self._full_picks = 0
        self._sizes: deque[int] = deque()
        self._rows: IntArray | None = None
        self._context: SchedulingContext | None = None
        self._gated = False

    def share_with(self, pools: int) -> None:
        """So many pools share what all may take."""
        self._most_bytes = MOST_BYTES // max(1, pools)

    def begins(self, context: SchedulingContext, rows: IntArray, *, gated: bool) -> None:
        """Stages are about to decide about `rows`, the candidates before any screener.

        `gated`: nothing is to be chosen unless one of them has room.
        """
        if self.rng.drawn:
            self.rng.drawn = []
        self._context, self._rows, self._gated = context, rows, gated

    def note(self, config: PickerConfig) -> None:
        """The stages have decided, and nothing was carried out yet."""
        context = self._context
        if context is None:
            return
        state = context.snapshot.state
        if not self._sheets or not self._sheets[-1].takes(state, config):
            self._turn(InputSheet(state, config))
        self._sheets[-1].note(context, gated=self._gated)

    def keep(self, record: PickRecord, chosen: tuple[int, ...]) -> None:
        """The decision that was noted has this record; none is `chosen` where it was refused."""
        context, rows = self._context, self._rows
        if context is None or rows is None:
            return
        # The list of one decision goes on to the next where nothing was drawn.
        drawn = self.rng.drawn or _NOTHING_DRAWN
        self._sheets[-1].keep(record, context, rows, drawn, chosen, gated=self._gated)
        self._context = self._rows = None

    def sheets(self) -> Iterator[InputSheet]:
        """The sheets, the newest first; the first one may still be written."""
        return reversed(self._sheets)

    def turn(self) -> None:
        """Close the sheet that is written, if there is a pick on it; the next decision begins another."""
        if self._sheets and len(self._sheets[-1]) and not self._sheets[-1].closed:
            self._turned(self._sheets[-1])

    def _turn(self, sheet: InputSheet) -> None:
        """Go on with a new sheet, and let go of what is older or more than is to be kept."""
        sheets = self._sheets
        if sheets and not len(sheets[-1]):
            sheets.pop()
        elif sheets and not sheets[-1].closed:
            self._turned(sheets[-1])
        while self._sizes and (self._full_bytes > self._most_bytes or self._full_picks - len(sheets[0]) >= self._most):
            self._full_picks -= len(sheets.popleft())
            self._full_bytes -= self._sizes.popleft()
        sheets.append(sheet)

    def _turned(self, sheet: InputSheet) -> None:
        """Nothing is added to `sheet` any more."""
        sheet.close()
        self._sizes.append(sheet.size_bytes)
        self._full_bytes += self._sizes[-1]
        self._full_picks += len(sheet)
        if self._closed is not None:
            self._closed(sheet)
