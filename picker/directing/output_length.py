"""How long answers are expected to be: what in-flight work a request adds beyond its prompt."""

from collections import OrderedDict
from typing import Final

from infscale.metrics.pages.bounds import MAX_OUTPUT_TOKENS
from infscale.metrics.snapshot import PoolSnapshot

_MODELS_REMEMBERED: Final = 1024
_WEIGHT_OF_NEW: Final = 0.05
_REFRESH_SECONDS: Final = 1.0


class OutputLengths:
    """Expected output tokens by model.

    The best knowledge wins: usage seen in responses (moving average), else what the engines' counters say of the last
    window (tokens generated ÷ requests finished), else `default_tokens`.
    """

    def __init__(self, default_tokens: float) -> None:
        self._default = default_tokens
        self._seen: OrderedDict[str, float] = OrderedDict()
        self._published: dict[str, float] = {}
        self._refreshed_at = float("-inf")

    def expect(self, model: str, limit_tokens: int | None) -> float:
        """Tokens an answer of `model` is expected to have, at most the request's own limit."""
        tokens = self._seen.get(model) or self._published.get(model) or self._published.get("") or self._default
        if limit_tokens is None:
            return tokens
        # As whole numbers first: a client may send one that no float holds.
        return min(tokens, float(max(0, min(limit_tokens, MAX_OUTPUT_TOKENS))))

    def observe(self, model: str, tokens: int) -> None:
        """One answer of `model` had this many tokens; a number that none can have teaches nothing."""
        if not 0 <= tokens <= MAX_OUTPUT_TOKENS:
            return
        before = self._seen.pop(model, float(tokens))
        self._seen[model] = before + _WEIGHT_OF_NEW * (tokens - before)
        # Model names come from clients: only so many are remembered.
        if len(self._seen) > _MODELS_REMEMBERED:
            self._seen.popitem(last=False)

    def refresh(self, snapshot: PoolSnapshot, now: float) -> None:
        """Take over what the engines' counters say, at most once a second. The key "" stands for all models."""
        if now - self._refreshed_at < _REFRESH_SECONDS:
            return
        self._refreshed_at = now
        generated: dict[str, float] = {}
        finished: dict[str, float] = {}
        for window in snapshot.columns.windows:
            for (name, model), rate in window.rates.items() if window is not None else ():
                totals = {"generation_tokens": generated, "requests_finished": finished}.get(name)
                if totals is not None:
                    for key in {model, ""}:
                        totals[key] = totals.get(key, 0.0) + rate
        self._published = {
            model: each
            for model, rate in finished.items()
            if rate > 0 and 0.0 < (each := generated.get(model, 0.0) / rate) <= MAX_OUTPUT_TOKENS
        }
