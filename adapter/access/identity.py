"""Callers: users and groups as Kubernetes names them."""

from dataclasses import dataclass, replace

ANONYMOUS_NAME = "system:anonymous"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
MASTERS = "system:masters"


@dataclass(frozen=True, slots=True)
class User:
    """A user; `extra`, what an authenticator adds as keys with their values, reaches reviews and nothing else."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def privileged(self) -> bool:
        """Whether the user may do everything, without a review."""
        return MASTERS in self.groups


ANONYMOUS = User(ANONYMOUS_NAME, groups=(UNAUTHENTICATED,))


def authenticated(user: User) -> User:
    """`user` as a member of `system:authenticated`.

    The aggregator's own requests name no group, and roles of discovery are bound to this one. A user that a front
    proxy reports as anonymous or unauthenticated stays that.
    """
    if user.name == ANONYMOUS_NAME or AUTHENTICATED in user.groups or UNAUTHENTICATED in user.groups:
        return user
    return replace(user, groups=(*user.groups, AUTHENTICATED))
