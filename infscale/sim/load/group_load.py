"""Load of groups that share a system prompt, whose users ask in turns, whatever becomes of the answers."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import count
from typing import TYPE_CHECKING

from infscale.errors import ConfigError
from infscale.sim.load.distributions.arrival_times import Arrivals
from infscale.sim.load.distributions.lengths import NOTHING, Lengths
from infscale.sim.load.distributions.popularity import EVENLY, Popularity
from infscale.sim.load.prompts import Piece, Prompts
from infscale.sim.load.traffic import LoadTarget
from infscale.sim.load.virtual_request import OpenStream, RequestStream, VirtualRequest

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class GroupLoad:
    """Requests of `users` in each of `groups`.

    Each request is of a group drawn by `popularity`, and of one of its users at random. Its prompt is the group's
    system prompt (none where `system` is 0), what this user has said and heard so far, and a new question. After
    `turns` turns, or when servers could not hold more, the user starts anew; a question that is longer is cut. The
    answer that later turns quote is of the right length and not what a server said: arrivals do not wait for it. With
    `loras` LoRA adapters, a group uses one of them.
    """

    target: LoadTarget
    arrivals: Arrivals
    question: Lengths
    output: Lengths
    groups: int = 1
    users: int = 1
    system: Lengths = NOTHING
    turns: int = 1
    popularity: Popularity = EVENLY
    loras: int = 0

    def __post_init__(self) -> None:
        for name, least in (("groups", 1), ("users", 1), ("turns", 1), ("loras", 0)):
            if getattr(self, name) < least:
                raise ConfigError("", name, f"expected a whole number, at least {least}")

    def description(self) -> Mapping[str, object]:
        """See `Traffic`."""
        return {"kind": "groups", **asdict(self)}

    def stream(self, rng: "Random") -> RequestStream:
        """See `Traffic`."""
        return OpenStream(_requests(self, rng))


class _Conversation:
    """What one user has said and heard so far."""

    __slots__ = ("pieces", "session", "turns")

    def __init__(self, pieces: tuple[Piece, ...], session: int) -> None:
        self.pieces = pieces
        self.session = session
        self.turns = 0


def _requests(load: GroupLoad, rng: "Random") -> Iterator[VirtualRequest]:
    prompts, target = Prompts(rng), load.target
    systems = [_system(group, load.system.count(rng)) for group in range(load.groups)]
    chosen = load.popularity.among(load.groups)
    keys, sessions = count(load.groups), count()
    chats: dict[tuple[int, int], _Conversation] = {}
    for number, at in enumerate(load.arrivals.times(rng)):
        group = chosen.draw(rng)
        user = (group, rng.randrange(load.users))
        question, output = target.cut(systems[group], load.question.count(rng), load.output.count(rng))
        asked = Piece("user", next(keys), question)
        chat = chats.get(user)
        if chat is None or not target.fits((*chat.pieces, asked), output):
            chat = _Conversation(systems[group], next(sessions))
        pieces = (*chat.pieces, asked)
        answer = Piece("assistant", next(keys), output)
        lora = f"lora-{group % load.loras}" if load.loras else None
        yield VirtualRequest(
            number,
            at,
            pieces,
            output,
            lora or target.model,
            lora,
            target.limit(output),
            target.request_class,
            chat.session,
            chat.turns,
            target.tenant,
            prompts=prompts,
        )
        chat.turns += 1
        chat.pieces = (*pieces, answer)
        if chat.turns < load.turns:
            chats[user] = chat
        else:
            chats.pop(user, None)


def _system(group: int, tokens: int) -> tuple[Piece, ...]:
    return (Piece("system", group, tokens),) if tokens else ()
