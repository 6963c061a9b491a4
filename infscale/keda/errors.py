"""Refusals of the external scaler, each of which becomes one gRPC status.

InfscaleError
└── ScalerError         a gRPC status code, and words for readers of a ScaledObject's conditions
    ├── InvalidTrigger  INVALID_ARGUMENT: the metadata of the trigger cannot be used as it is written
    ├── NotThere        NOT_FOUND: no such pool, model or metric
    ├── NotKnown        UNAVAILABLE: what is asked for exists, and its value is unknown now
    └── TooMany         RESOURCE_EXHAUSTED: more streams than the scaler takes
"""

from typing import ClassVar, Literal

from infscale.errors import InfscaleError

Code = Literal["INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE", "RESOURCE_EXHAUSTED"]


class ScalerError(InfscaleError):
    """A refusal; `str` of it is the message of the status, which names the ScaledObject."""

    code: ClassVar[Code]

    def __init__(self, scaled_object: str, problem: str) -> None:
        self.problem = problem
        super().__init__(f"ScaledObject {scaled_object}: {problem}")


class InvalidTrigger(ScalerError):
    """The metadata cannot be used: says which key, and what is expected there."""

    code = "INVALID_ARGUMENT"


class NotThere(ScalerError):
    """There is no such pool, model or metric."""

    code = "NOT_FOUND"


class NotKnown(ScalerError):
    """The value is unknown now: says why, and how old the last one is."""

    code = "UNAVAILABLE"


class TooMany(ScalerError):
    """A limit is reached: says which."""

    code = "RESOURCE_EXHAUSTED"
