"""The process that reads one discovery file for another; see `infscale.discovery.apart`."""

import copyreg
import os
import pickle
import sys
from types import MappingProxyType
from typing import Any

from infscale.discovery.apart import Question, answer, frozen

_NICE = 10


def _reduced(mapping: MappingProxyType[str, Any]) -> tuple[Any, ...]:
    return frozen, (dict(mapping),)


if __name__ == "__main__":
    copyreg.pickle(MappingProxyType, _reduced)
    os.nice(_NICE)
    question: Question = pickle.load(sys.stdin.buffer)  # noqa: S301 # from the parent of this process
    pickle.dump(answer(question), sys.stdout.buffer)
