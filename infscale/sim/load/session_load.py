"""Load of conversations in which the next turn comes after the answer has ended, and has been thought about."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from infscale.errors import ConfigError
from infscale.sim.load.distributions.arrival_times import Arrivals
from infscale.sim.load.distributions.lengths import NOTHING, Lengths
from infscale.sim.load.distributions.popularity import EVENLY, Popularity
from infscale.sim.load.prompts import Piece, Prompts
from infscale.sim.load.traffic import LoadTarget
from infscale.sim.load.virtual_request import RequestStream, VirtualRequest

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class SessionLoad:
    """Conversations that begin at random and go on as fast as they are answered.

    `arrivals` are those of requests, from which follows how often a conversation begins: every ``mean turns``-th time.
    Its first prompt is the system prompt of one of `groups`, drawn by `popularity`, and `first` tokens of its own; each
    further turn adds the answer and `question` tokens, `think` seconds after the answer has ended. Conversations end
    after `turns` turns, when they are longer than servers can hold, and with the arrivals; a first prompt that is
    longer is cut.
    """

    target: LoadTarget
    arrivals: Arrivals
    first: Lengths
    output: Lengths
    question: Lengths
    turns: Lengths
    think: Lengths
    groups: int = 1
    system: Lengths = NOTHING
    popularity: Popularity = EVENLY

    def __post_init__(self) -> None:
        if self.groups < 1:
            raise ConfigError("", "groups", "expected a whole number, at least 1")
        if self.turns.mean < 1:
            raise ConfigError("", "turns", "expected a number, at least 1")

    def description(self) -> Mapping[str, object]:
        """See `Traffic`."""
        return {"kind": "sessions", **asdict(self)}

    def stream(self, rng: "Random") -> RequestStream:
        """See `Traffic`."""
        return _SessionStream(self, rng)


class _Turn(NamedTuple):
    """A turn that is to come: `think_seconds` after the last answer ended."""

    think_seconds: float
    answer: Piece
    question: Piece
    output_tokens: int


class _SessionStream:
    """What conversations are going to say is drawn when they begin, so that it does not depend on who answers when."""

    def __init__(self, load: SessionLoad, rng: "Random") -> None:
        self._load = load
        self._rng = rng
        self._prompts = Prompts(rng)
        self._keys = count(load.groups)
        self._numbers = count()
        # Turns to come by session, the next one last. A session without any is not in it.
        self._to_come: dict[int, list[_Turn]] = {}

    def arriving(self) -> Iterator[VirtualRequest]:
        """See `RequestStream`."""
        load, rng = self._load, self._rng
        target = load.target
        systems = [load.system.count(rng) for _ in range(load.groups)]
        chosen = load.popularity.among(load.groups)
        rates = tuple(rate / load.turns.mean for rate in load.arrivals.rates)
        for session, at in enumerate(replace(load.arrivals, rates=rates).times(rng)):
            group = chosen.draw(rng)
            system = (Piece("system", group, systems[group]),) if systems[group] else ()
            first, output = target.cut(system, load.first.count(rng), load.output.count(rng))
            pieces = (*system, Piece("user", next(self._keys), first))
            turns = self._turns(output)
            if turns:
                self._to_come[session] = turns
            yield self._request(at, pieces, output, session, 0)

    def next(self, ended: VirtualRequest, at_seconds: float) -> VirtualRequest | None:
        """See `RequestStream`."""
        session = ended.session
        turns = self._to_come.pop(session, None) if session is not None else None
        if session is None or turns is None:
            return None
        turn = turns.pop()
        at = at_seconds + turn.think_seconds
        pieces = (*ended.pieces, turn.answer, turn.question)
        if at >= self._load.arrivals.seconds or not self._load.target.fits(pieces, turn.output_tokens):
            return None
        if turns:
            self._to_come[session] = turns
        return self._request(at, pieces, turn.output_tokens, session, ended.turn + 1)

    def _turns(self, output_tokens: int) -> list[_Turn]:
        load, rng = self._load, self._rng
        turns: list[_Turn] = []
        for _ in range(max(1, load.turns.count(rng)) - 1):
            answer = Piece("assistant", next(self._keys), output_tokens)
            question = Piece("user", next(self._keys), max(1, load.question.count(rng)))
            output_tokens = max(1, load.output.count(rng))
            turns.append(_Turn(load.think.draw(rng), answer, question, output_tokens))
        turns.reverse()
        return turns

    def _request(
        self, at: float, pieces: tuple[Piece, ...], output_tokens: int, session: int, turn: int
    ) -> VirtualRequest:
        target = self._load.target
        return VirtualRequest(
            next(self._numbers),
            at,
            pieces,
            output_tokens,
            target.model,
            None,
            target.limit(output_tokens),
            target.request_class,
            session,
            turn,
            target.tenant,
            prompts=self._prompts,
        )
