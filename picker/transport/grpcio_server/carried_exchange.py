"""An exchange that a task carries, and what it holds of the budget."""

import asyncio

from picker.ext_proc.exchange import Exchange
from picker.ext_proc.messages import Fail, Send
from picker.transport.budget import Budget, Ending, Holding
from picker.transport.endings import EXCHANGE_BYTES, rejection
from picker.transport.interface import Clock


class CarriedExchange:
    """One exchange; `patience` is the task's, and over where the exchange has to end."""

    def __init__(self, exchange: Exchange, clock: Clock, budget: Budget) -> None:
        self.exchange = exchange
        self.patience: asyncio.Timeout | None = None
        self.holding = Holding(budget, self, arriving=True)
        self.unsaid: list[Send] = []
        """What is to be sent, in order; one task at a time sends it, in turns by `saying`."""
        self.saying = asyncio.Lock()
        self.resumed = asyncio.Event()
        """Whether what followed a verdict has been sent."""
        self.stopped = False
        """Whether it has come to its end outside its task, with `failure` or in order."""
        self.failure: Fail | None = None
        self._clock = clock
        self._budget = budget
        self._kept_bytes = EXCHANGE_BYTES
        self._why: Ending | None = None
        self.holding.set(EXCHANGE_BYTES)

    @property
    def may_go_on(self) -> bool:
        """Whether more of it may be read: always, where its request is whole."""
        return not self.holding.arriving or self._budget.may_grow(self.holding)

    def account(self, came_bytes: int, kept_bytes: int) -> None:
        """A message of so many bytes has come, of which so many stay as long as the exchange."""
        holding = self.holding
        holding.came_bytes += came_bytes
        self._kept_bytes += kept_bytes
        holding.set(self._kept_bytes + self.exchange.held_bytes)
        if holding.arriving and not self.exchange.arriving:
            holding.arrived()

    def go_on(self) -> None:
        """See `picker.transport.budget.Holder`: its task looks for itself."""

    def end(self, why: Ending) -> None:
        """See `picker.transport.budget.Holder`."""
        self.close()
        if self._why is None and self.patience is not None:
            self._why = why
            self.patience.reschedule(asyncio.get_running_loop().time())

    def stop(self, failure: Fail | None) -> None:
        """Have its task end it."""
        self.stopped, self.failure = True, failure
        if self.patience is not None:
            self.patience.reschedule(asyncio.get_running_loop().time())

    def last_words(self) -> list[Send]:
        """What its gateway is told where it had to end."""
        return self.exchange.give_up(rejection(self._why or "stalled"), self._clock())

    def close(self) -> None:
        """Hold nothing from now on; harmless when repeated."""
        self.holding.close()
