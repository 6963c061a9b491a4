"""Errors of the core.

InfscaleError
├── ConfigError         the user's configuration is wrong: says the file, the line, the path and the expected form
├── SelectorError       a label selector does not parse
├── QuantityError       a Kubernetes quantity does not parse
├── ExpositionError     a metrics page is not what it claims to be (truncated, malformed, oversized)
├── FormulaError        the formula of a metric does not parse, or reads what is not published
└── StartError          a part could not start (port taken, Envoy missing): says what and what next
"""


class InfscaleError(Exception):
    """Base of every error this project raises on purpose."""


class ConfigError(InfscaleError):
    """A configuration is unusable.

    `place` is where (``file:line``), `path` which key (``endpoints[2].port``), `problem` what is expected there.
    """

    def __init__(self, place: str, path: str, problem: str) -> None:
        self.place = place
        self.path = path
        self.problem = problem
        super().__init__(": ".join(part for part in (place, path, problem) if part))


class SelectorError(InfscaleError):
    """A label selector does not parse."""


class QuantityError(InfscaleError):
    """A Kubernetes quantity does not parse or cannot be expressed."""


class ExpositionError(InfscaleError):
    """A metrics page is malformed, truncated or too large; nothing of it may be used."""


class FormulaError(InfscaleError):
    """A formula metric is unusable; the message says where in the formula, and what is expected there."""


class StartError(InfscaleError):
    """A part cannot start; the message says what is missing or taken and what to do about it."""
