"""Dispatch accounting: what the picker sent and has not seen end.

A charge is made when a destination is sent and released when the exchange ends. Between the two it may be *written
off*: an endpoint that keeps reporting less than was charged has finished work whose end the picker did not see, or
never got it.
"""

from dataclasses import dataclass
from typing import Final

from infscale.endpoint import EndpointKey, ObjectKey


@dataclass(slots=True, unsafe_hash=True, init=False)
class Charge:
    """What one dispatch adds to an endpoint until it is released.

    `number` identifies it in the store, `tokens` is the work charged, `model` the model asked for, `at` when.
    """

    number: Final[int]
    pool: Final[ObjectKey]
    endpoint: Final[EndpointKey]
    model: Final[str]
    tokens: Final[float]
    at: Final[float]

    def __init__(
        self,
        number: int,
        pool: ObjectKey,
        endpoint: EndpointKey,
        model: str,
        tokens: float,
        at: float,
    ) -> None:
        self.number = number
        self.pool = pool
        self.endpoint = endpoint
        self.model = model
        self.tokens = tokens
        self.at = at
