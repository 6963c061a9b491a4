"""What may route: a preset, an `EndpointPickerConfig` file, or a gateway without a picker."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from infscale.documents.suggestions import did_you_mean
from infscale.errors import ConfigError
from infscale.serving.picker_config import parse_picker_config, read_picker_config
from infscale.simulate.baselines import BASELINES
from infscale.simulate.surroundings import MakeRouter
from picker.epp_config.loader import PickerConfig
from picker.epp_config.presets import PRESETS

_INTERVAL: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s)")
_QUEUED: Final = {"@queued": True, "@unqueued": False}
_UNPREEMPTED: Final = "@unpreempted"
_UNITS: Final = {"ms": 1e-3, "s": 1.0}


@dataclass(frozen=True, slots=True)
class Policy:
    """One way to route. `text` is its `EndpointPickerConfig` as `source` has it; None: that of the baseline `name`.

    `scrape_seconds` is its interval between scrapes, None: that of the scenario. `queued`: requests wait until an
    endpoint can begin them, or never do; None: as the scheduling has it. `router` makes another router, of the picker
    where there is a text; None: the picker or the baseline itself. `preempts`: where requests wait, sheddable ones are
    taken back in flight for others. `falls_back`: they go to the other pool of a scenario that has one.
    """

    name: str
    text: str | None
    source: str = ""
    scrape_seconds: float | None = None
    queued: bool | None = None
    given: PickerConfig | None = field(default=None, compare=False, repr=False)
    router: MakeRouter | None = None
    preempts: bool = True
    falls_back: bool = True

    @property
    def picks(self) -> bool:
        """Whether a picker routes."""
        return self.text is not None or self.given is not None

    def scheduling(self) -> PickerConfig:
        """The configuration of the picker. Raises `ConfigError`."""
        if self.given is not None:
            return self.given
        if self.text is None:
            raise ValueError(f"{self.name} is no picker's policy")
        # Virtual clients send no tokens, and the keys are where the picker serves.
        return parse_picker_config(self.text, self.source, keys=False)


def named_policy(words: str) -> Policy:
    """The policy that a user names: a baseline, a preset or a file.

    Behind it may stand an interval of scrapes as ``@50ms``, ``@queued`` or ``@unqueued``, and ``@unpreempted``: none in
    flight is taken back for others that wait. It reads the file. Raises `ConfigError`.
    """
    name, interval, queued, preempts = words, None, None, True
    if name.endswith(_UNPREEMPTED) and not Path(name).is_file():
        name, preempts = name.removesuffix(_UNPREEMPTED), False
    for suffix, meant in _QUEUED.items():
        if name.endswith(suffix) and not Path(name).is_file():
            name, queued = name.removesuffix(suffix), meant
    # A file's name may have an @ of its own.
    if not Path(name).is_file() and "@" in name:
        name, _, interval = name.rpartition("@")
    seconds = None if interval is None else _seconds(words, interval)
    if name in BASELINES:
        if interval is not None:
            raise ConfigError("", "--policy", f"{words!r}: {name} scrapes nothing")
        if queued is not None or not preempts:
            raise ConfigError("", "--policy", f"{words!r}: {name} never has requests wait")
        return Policy(words, None)
    if name in PRESETS:
        return Policy(words, PRESETS[name], f"preset {name}", seconds, queued, preempts=preempts)
    path = Path(name)
    if not path.is_file():
        known = [*PRESETS, *BASELINES]
        hint = did_you_mean(name, known)
        raise ConfigError("", "--policy", f"{name!r} is no file, and none of {', '.join(known)}{hint}")
    read_picker_config(path, keys=False)
    return Policy(words, path.read_text(encoding="utf-8"), str(path), seconds, queued, preempts=preempts)


def _seconds(words: str, interval: str) -> float:
    found = _INTERVAL.fullmatch(interval)
    seconds = float(found["number"]) * _UNITS[found["unit"]] if found else 0.0
    if not 0.01 <= seconds <= 60:
        raise ConfigError("", "--policy", f"{words!r}: expected an interval of 10ms–60s behind @, such as @50ms")
    return seconds
