"""Model rewriting: from the model a request asks for to the one that serves it (`InferenceModelRewrite`)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from infscale.endpoint import Pool, Rewrite, RewriteTarget
from picker.request import Headers

if TYPE_CHECKING:
    from random import Random

REWRITE_HEADERS: Final = ("x-llm-d-model-name-rewrite", "x-gateway-model-name-rewrite")


@dataclass(frozen=True, slots=True)
class RewriteTable:
    """The rules of one pool, resolved: for each model the rule that wins, and the one for all other models."""

    exact: Mapping[str, tuple[RewriteTarget, ...]]
    generic: tuple[RewriteTarget, ...] | None = None

    @classmethod
    def of(cls, rewrites: Iterable[Rewrite], pool: Pool) -> "RewriteTable":
        """The rules of the rewrites that name `pool` in its namespace.

        A rule that names the model wins over one for all models; among equals the oldest object's, then the first
        listed.
        """
        exact: dict[str, tuple[RewriteTarget, ...]] = {}
        generic: tuple[RewriteTarget, ...] | None = None
        own = [each for each in rewrites if each.pool == pool.key.name and each.key.namespace == pool.key.namespace]
        for rewrite in sorted(own, key=lambda each: each.created):
            for rule in rewrite.rules:
                for model in rule.models:
                    exact.setdefault(model, rule.targets)
                if not rule.models and generic is None:
                    generic = rule.targets
        return cls(exact, generic)

    def targets(self, model: str) -> tuple[RewriteTarget, ...] | None:
        """The targets of the rule that wins for `model`; None when no rule matches."""
        return self.exact.get(model, self.generic)


def chosen_target(targets: Sequence[RewriteTarget], rng: "Random") -> str | None:
    """One target at random by weight; None where there is none to choose.

    Without any weight all targets are equally likely; where only some have one, the others are never chosen.
    """
    if not targets:
        return None
    if all(target.weight is None for target in targets):
        return targets[rng.randrange(len(targets))].model
    weights = [target.weight or 0 for target in targets]
    if not any(weights):
        return None
    return rng.choices(targets, weights)[0].model


def target_model(model: str, headers: Headers, table: RewriteTable, rng: "Random") -> str:
    """The model that serves a request for `model`: the rewrite header's, else the winning rule's, else `model`.

    A header that repeats `model` rewrites nothing, so the rules decide.
    """
    for name in REWRITE_HEADERS:
        if named := headers.get(name):
            if named != model:
                return named
            break
    targets = table.targets(model)
    return model if targets is None else chosen_target(targets, rng) or model
