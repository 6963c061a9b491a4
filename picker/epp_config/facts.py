"""Plugins that nothing is built of: what a document says by them of things that are there anyway."""

from collections.abc import Callable
from dataclasses import dataclass

from picker.epp_config.parameters import Given
from picker.epp_config.reporting import NO_REPORTING, Reporting
from picker.epp_config.scraping_parameters import NO_WISHES, ScrapeWishes
from picker.scheduling.plugin import USUAL_PREDICTIONS, PredictionSettings
from picker.scheduling.prefix_index import PrefixSettings


@dataclass(frozen=True, slots=True)
class Facts:
    """What is said of the prefix index, of media, predictions, metrics pages, responses and agents.

    `media_items` is how many media each endpoint is taken to hold. `prefix` and `media_items` are None where nothing is
    said of them. `agent_headers` name the session of an agent, in the order in which they are asked.
    """

    prefix: PrefixSettings | None = None
    media_items: int | None = None
    predicting: PredictionSettings = USUAL_PREDICTIONS
    scraping: ScrapeWishes = NO_WISHES
    reporting: Reporting = NO_REPORTING
    agent_headers: tuple[str, ...] = ()


Told = tuple[Facts, tuple[str, ...]]
"""Facts, and notes on what is accepted and has no effect."""


@dataclass(frozen=True, slots=True)
class FactType:
    """A plugin type by which something is said.

    `read` adds what a plugin says to the facts so far, and raises `ConfigError`; None: such a plugin says nothing, and
    parameters have no effect. Of the types `alone_among` a pool has one plugin. `elsewhere` names the place where
    the same is decided, for a note. One that is `implied` may be referred to without being declared.
    """

    read: Callable[[Given, Facts], Told] | None = None
    alone_among: tuple[str, ...] = ()
    elsewhere: str = ""
    implied: bool = True


def no_parameters(given: Given, facts: Facts) -> Told:
    """The facts as they are, of a plugin that takes no parameters. Raises `ConfigError` where it is given one."""
    given.nothing()
    return facts, ()
