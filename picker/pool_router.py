"""Several pools behind one gateway: which pool's director decides."""

from collections.abc import Mapping

from picker.admission import rejection
from picker.request import Decision, Director, InferenceRequest, Outcome, Rejection


class PoolRouter:
    """One director for several pools: the pool is named in a request header, or is the default.

    A header that names no pool of this process is answered 404.
    """

    def __init__(self, directors: Mapping[str, Director], default: str, header: str = "x-llm-d-inference-pool") -> None:
        self._directors = directors
        self._default = default
        self._header = header

    def direct(self, request: InferenceRequest, now: float) -> Decision | Rejection:
        """The decision of the named pool's director."""
        director = self._directors.get(self._name(request))
        if director is None:
            return rejection("NotFound", f"the pool named in {self._header} does not exist")
        return director.direct(request, now)

    def response_started(self, decision: Decision, status: int | None, now: float) -> None:
        """Pass on to the pool the decision was charged to."""
        name = decision.charge.pool.name if decision.charge is not None else self._default
        self._directors[name].response_started(decision, status, now)

    def finished(self, request: InferenceRequest, decision: Decision, outcome: Outcome, now: float) -> None:
        """Pass on to the director that decided."""
        self._directors[self._name(request)].finished(request, decision, outcome, now)

    def _name(self, request: InferenceRequest) -> str:
        return request.headers.get(self._header) or self._default
