"""Rights of users: the cluster is asked, and its answers hold for a while."""

from collections.abc import Callable
from dataclasses import dataclass

from adapter.access.cache import SharedAnswers
from adapter.access.identity import ANONYMOUS, User
from adapter.access.request_attributes import REVIEW_PATH, Attributes, access_review
from adapter.access.reviews import Reviews
from adapter.errors import ApiError, Forbidden, InternalError
from infscale.kube.api import errors as kube

REMEMBERED_DECISIONS = 8_192
LIFETIME_SECONDS = 10.0
MAX_REMEMBERED_CHARACTERS = 2_000
"""Longer questions are asked each time: memory belongs to those that are repeated."""

_UNDECIDED = "Internal error occurred: the cluster could not be asked whether this is allowed: "


@dataclass(frozen=True, slots=True)
class Decision:
    """The cluster's answer, and its reason where it gave one."""

    allowed: bool
    reason: str = ""


class Authorizer:
    """Asks by `SubjectAccessReview`. Anonymous users have reviews of their own, and cannot crowd out others."""

    def __init__(self, reviews: Reviews, anonymous_reviews: Reviews, clock: Callable[[], float]) -> None:
        self._reviews = reviews
        self._anonymous_reviews = anonymous_reviews
        self._decisions = SharedAnswers[tuple[User, Attributes], Decision](
            REMEMBERED_DECISIONS, LIFETIME_SECONDS, clock
        )

    async def check(self, user: User, attributes: Attributes) -> None:
        """Return if `user` may. Raises `Forbidden`, and `InternalError` when the cluster cannot say."""
        if user.privileged:
            return
        try:
            decision = await self._decisions.get(
                (user, attributes),
                lambda: self._review(user, attributes),
                keep=attributes.size <= MAX_REMEMBERED_CHARACTERS,
            )
        except kube.KubeError as error:
            raise _undecided(error) from None
        if not decision.allowed:
            reason = f": {decision.reason}" if decision.reason else ""
            raise Forbidden(attributes.refusal(user.name) + reason, attributes.details())

    async def _review(self, user: User, attributes: Attributes) -> Decision:
        reviews = self._anonymous_reviews if user == ANONYMOUS else self._reviews
        status = await reviews.ask(REVIEW_PATH, access_review(user, attributes))
        # A denial outranks whatever else an authorizer says.
        allowed = status.get("allowed") is True and status.get("denied") is not True
        return Decision(allowed, str(status.get("reason") or ""))


def _undecided(error: kube.KubeError) -> ApiError:
    """Words for the HPA's conditions; they do not repeat what the API server or the network said."""
    if isinstance(error, kube.Forbidden):
        return InternalError(
            f"{_UNDECIDED}the adapter may not create SubjectAccessReviews; bind its service account to the "
            "ClusterRole system:auth-delegator"
        )
    if isinstance(error, kube.Unreachable):
        return InternalError(f"{_UNDECIDED}the API server does not answer the adapter; ask again")
    return InternalError(f"{_UNDECIDED}the API server refused the adapter's question")
