"""What the connections of a picker's ports share: places, memory, turns of the loop, and time."""

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from picker.transport.budget import Budget
from picker.transport.h2.events import Limits
from picker.transport.health import Health
from picker.transport.interface import Clock, TransportSettings
from picker.transport.limits import LimitNotes
from picker.transport.server.places import Places
from picker.transport.server.turns import Turns

if TYPE_CHECKING:
    from picker.transport.server.gateway_connection import GatewayConnection

_MOST_RELIEVED: Final = 64


class Port:
    """Guards what is shared; for one loop. `tasks` are those of health watches and handshakes."""

    def __init__(  # noqa: PLR0913 # one for each thing that is shared
        self,
        settings: TransportSettings,
        limits: Limits,
        clock: Clock,
        health: Health,
        tasks: asyncio.TaskGroup,
        budget: Budget,
        notes: LimitNotes,
    ) -> None:
        self.settings = settings
        self.notes = notes
        self._turn: asyncio.Handle | None = None
        self.limits = limits
        self.clock = clock
        self.health = health
        self.tasks = tasks
        self.budget = budget
        self.turns: Turns[GatewayConnection] = Turns()
        self.places: Places[GatewayConnection] = Places(
            settings.max_connections, settings.max_peer_connections, lambda connection: connection.idle_since
        )
        self.connections: dict[GatewayConnection, None] = {}
        # Those that have steps to do of what is too long for a turn of the loop.
        self._stepping: dict[GatewayConnection, None] = {}

    # Places

    def enter(self, connection: "GatewayConnection") -> bool:
        """Whether there is a place for a connection; another may have to go for it."""
        peer, places = connection.peer, self.places
        while (crowd := places.crowded(peer)) is not None:
            self.notes.acted(crowd, peer, self.clock())
            goes = places.dispensable(peer, crowd)
            if goes is None:
                return False
            self.leave(goes)
            goes.leave()
            goes.cut()
        places.enter(peer, connection)
        self.connections[connection] = None
        return True

    def leave(self, connection: "GatewayConnection") -> None:
        """A connection is gone; harmless when repeated."""
        self.connections.pop(connection, None)
        self.places.leave(connection.peer, connection)
        self.turns.forget(connection)
        self._stepping.pop(connection, None)

    # Turns

    def did(self, connection: "GatewayConnection", units: int) -> None:
        """A connection has worked."""
        self.turns.did(connection, units)
        if self.turns.used:
            self.ask_turn()

    def wait(self, connection: "GatewayConnection") -> None:
        """A connection has more to do than this turn of the loop has room for."""
        self.notes.acted("loop_turn", connection.peer, self.clock(), logging.DEBUG)
        self.turns.wait(connection)
        self.ask_turn()

    def later(self, connection: "GatewayConnection") -> None:
        """A connection has steps to do of what is too long for a turn; harmless when repeated."""
        self._stepping[connection] = None
        self.ask_turn()

    def ask_turn(self) -> None:
        """Have the next turn of the loop counted anew; harmless when repeated."""
        if self._turn is None:
            self._turn = asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._turn = None
        turns = self.turns
        turns.begin(self.clock())
        while (connection := turns.next()) is not None:
            connection.work()
        self._step()
        if turns.waiting or self._stepping:
            self.ask_turn()

    def _step(self) -> None:
        """Do one step: what was begun comes to its end before the next is, for it keeps copies of a body meanwhile."""
        connection = next(iter(self._stepping), None)
        if connection is None or connection.step():
            return
        self._stepping.pop(connection, None)
        if connection.stepping:
            self._stepping[connection] = None

    # Memory

    def relieve(self) -> None:
        """End what has to go because more is held than may be, and let go on what waited."""
        budget = self.budget
        changed = False
        while (victim := budget.victim()) is not None:
            self.notes.acted("body_memory", "", self.clock())
            victim.end("over budget")
            changed = True
        room = 1 if budget.tight else max(1, (budget.open_bytes - budget.held_bytes) // self.limits.window_bytes)
        for _ in range(min(room, _MOST_RELIEVED)):
            holding = budget.relieved()
            if holding is None:
                break
            holding.go_on()
            changed = True
        for connection in tuple(self.connections) if changed else ():
            connection.flush()

    # Time

    def sweep(self, now: float) -> None:
        """Let go of what takes too long; to be asked a few times a second."""
        settings, notes = self.settings, self.notes
        for connection in tuple(self.connections):
            if connection.silent(now, settings.greeting_seconds):
                notes.acted("silent_connection", connection.peer, now)
                connection.cut()
            elif connection.dripping(now, settings.frame_seconds):
                notes.acted("unfinished_frame", connection.peer, now)
                connection.give_up("a frame took too long to come")
            else:
                self._sweep(connection, now)
        self.relieve()

    def _sweep(self, connection: "GatewayConnection", now: float) -> None:
        limit = self.settings.body_timeout_seconds
        late = list(self.budget.late(connection.arriving(), now, limit))
        for holding, why in late:
            self.notes.acted("body_memory" if why == "held back" else "stalled_body", connection.peer, now)
            holding.end(why)
        unread = connection.unread(now, limit)
        for _ in range(unread):
            self.notes.acted("unread_answers", connection.peer, now)
        if late or unread:
            connection.flush()
