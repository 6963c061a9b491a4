"""Who asks, by what they bring along."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from multidict import CIMultiDict

from adapter.access.authentication import Authenticator, Caller, TokenReviewer, bearer_token
from adapter.access.client_certificate import Peer
from adapter.access.identity import ANONYMOUS, User
from adapter.access.reviews import Patience, Reviews
from adapter.access.trust import Trust, parse_trust
from adapter.api.documents import Clock
from adapter.errors import Unauthorized
from infscale.kube.api.errors import Forbidden, KubeError, Unreachable
from tests.fakes.certificates import NOW, SERVER, Issued, authority
from tests.fakes.cluster import TOKENS, FakeCluster

CLIENT_CA, PROXY_CA = authority("kubernetes"), authority("front-proxy-ca")
DATA = {
    "client-ca-file": CLIENT_CA.pem,
    "requestheader-client-ca-file": PROXY_CA.pem,
    "requestheader-allowed-names": '["front-proxy-client"]',
    "requestheader-username-headers": '["X-Remote-User"]',
    "requestheader-group-headers": '["X-Remote-Group"]',
    "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
}
TRUST = parse_trust(DATA)
PROXY = PROXY_CA.issue("front-proxy-client")
BOB = CLIENT_CA.issue("bob", ["dev"])
FORGER = CLIENT_CA.issue("front-proxy-client", ["system:masters"])
AS_ADMIN = (("X-Remote-User", "admin"), ("X-Remote-Group", "system:masters"))
TOKEN = (("Authorization", "Bearer t1"),)


class World:
    """An authenticator of a cluster that knows the token t1."""

    def __init__(self) -> None:
        self.now = 0.0
        self.cluster = FakeCluster()
        self.cluster.users["t1"] = {"username": "sa", "uid": "u", "groups": ["g"], "extra": {"k": ["v"]}}
        reviews = Reviews(self.cluster, random.Random(1), Patience(tries=1))
        self.authenticator = Authenticator(TokenReviewer(reviews, lambda: self.now))

    async def user(
        self, *pairs: tuple[str, str], certificate: Issued | None = None, trust: Trust | None = TRUST, days: float = 0
    ) -> User:
        peer = None if certificate is None else Peer(certificate.der)
        clock = Clock(self.now, NOW + timedelta(days=days))
        return await self.authenticator.user(Caller(CIMultiDict(pairs), peer), trust, clock)


async def test_the_front_proxy_speaks_for_others() -> None:
    user = await World().user(*AS_ADMIN, ("X-Remote-Extra-Scope", "s"), certificate=PROXY)
    assert user == User("admin", "", ("system:masters", "system:authenticated"), (("scope", ("s",)),))


async def test_the_aggregator_s_own_requests_name_no_group() -> None:
    user = await World().user(("X-Remote-User", "system:kube-aggregator"), certificate=PROXY)
    assert user.groups == ("system:authenticated",)


async def test_a_client_is_who_its_certificate_says() -> None:
    assert await World().user(certificate=BOB) == User("bob", "", ("dev", "system:authenticated"))


@pytest.mark.parametrize(
    ("certificate", "sent"),
    [
        (BOB, AS_ADMIN),
        (FORGER, AS_ADMIN),
        (FORGER, (*AS_ADMIN, *TOKEN)),
        (FORGER, (("X-Remote-Group", "system:masters"),)),
        (FORGER, (("X-Remote-User", ""), ("X-Remote-User", "admin"))),
        (FORGER, (("X-Remote-Extra-A", "b"),)),
        (PROXY_CA.issue("other-name"), AS_ADMIN),
        (PROXY_CA.issue(""), AS_ADMIN),
        (PROXY_CA.issue("front-proxy-client", usage=SERVER), AS_ADMIN),
        (PROXY_CA.issue("front-proxy-client", days=(-3, -1)), AS_ADMIN),
        (authority("front-proxy-ca").issue("front-proxy-client"), AS_ADMIN),
        (PROXY, ()),
        (PROXY, (("X-Remote-User", ""),)),
        (PROXY, (("X-Remote-Group", "dev"),)),
        (PROXY, (("X-Remote-User", "b\udcff"),)),
        (CLIENT_CA.issue("", ["dev"]), ()),
        (CLIENT_CA.issue("bob", days=(-3, -1)), ()),
        (authority("kubernetes").issue("bob"), ()),
    ],
    ids=[
        "a client's headers",
        "a client with the proxy's name",
        "and with a token",
        "only groups",
        "a second value",
        "only extra",
        "a name that is not allowed",
        "no name",
        "a server's certificate",
        "expired",
        "a CA of the same name",
        "the proxy without headers",
        "the proxy with an empty user",
        "the proxy with only groups",
        "bytes that are no text",
        "a client without name",
        "an expired client",
        "a client of another CA",
    ],
)
async def test_what_is_not_proven_is_unauthorized(certificate: Issued, sent: tuple[tuple[str, str], ...]) -> None:
    world = World()
    with pytest.raises(Unauthorized, match=r"^Unauthorized$"):
        await world.user(*sent, certificate=certificate)
    assert world.cluster.reviews == []


async def test_an_empty_list_of_names_does_not_open_the_door_to_clients() -> None:
    trust = parse_trust({**DATA, "requestheader-allowed-names": "[]"})
    world = World()
    assert (await world.user(*AS_ADMIN, certificate=PROXY_CA.issue("any"), trust=trust)).name == "admin"
    with pytest.raises(Unauthorized):
        await world.user(*AS_ADMIN, certificate=FORGER, trust=trust)


async def test_one_ca_for_both_still_tells_clients_from_the_proxy() -> None:
    trust = parse_trust({**DATA, "requestheader-client-ca-file": CLIENT_CA.pem})
    world = World()
    assert (await world.user(certificate=BOB, trust=trust)).name == "bob"
    assert (await world.user(*AS_ADMIN, certificate=FORGER, trust=trust)).name == "admin"
    with pytest.raises(Unauthorized):
        await world.user(*AS_ADMIN, certificate=BOB, trust=trust)


async def test_without_a_front_proxy_identity_headers_mean_nothing() -> None:
    trust = replace(TRUST, proxy=None)
    assert (await World().user(*AS_ADMIN, certificate=BOB, trust=trust)).name == "bob"
    with pytest.raises(Unauthorized):
        await World().user(*AS_ADMIN, certificate=PROXY, trust=trust)


async def test_headers_without_a_certificate_are_anonymous() -> None:
    assert await World().user(*AS_ADMIN) == ANONYMOUS
    assert await World().user(*AS_ADMIN, trust=None) == ANONYMOUS


@pytest.mark.parametrize("certificate", [PROXY, BOB])
async def test_no_certificate_proves_anything_before_trust_is_known(certificate: Issued) -> None:
    for trust in (None, Trust()):
        with pytest.raises(Unauthorized):
            await World().user(("X-Remote-User", "admin"), certificate=certificate, trust=trust)


async def test_a_certificate_expires_while_it_is_remembered() -> None:
    world, short = World(), PROXY_CA.issue("front-proxy-client", days=(-1, 2))
    assert (await world.user(*AS_ADMIN, certificate=short, days=1)).name == "admin"
    with pytest.raises(Unauthorized):
        await world.user(*AS_ADMIN, certificate=short, days=3)


async def test_a_token_is_whose_the_cluster_says() -> None:
    world = World()
    assert await world.user(*TOKEN) == User("sa", "u", ("g", "system:authenticated"), (("k", ("v",)),))
    path, body = world.cluster.reviews[0]
    assert (path, body["kind"], body["spec"]) == (TOKENS, "TokenReview", {"token": "t1"})


async def test_a_certificate_outranks_a_token_and_a_useless_one_does_not() -> None:
    world = World()
    assert (await world.user(*TOKEN, certificate=BOB)).name == "bob"
    assert (await world.user(*TOKEN, certificate=PROXY)).name == "sa"


async def test_a_token_s_answer_holds_for_ten_seconds_and_the_token_is_not_kept() -> None:
    world = World()
    for world.now in (0.0, 9.9):
        assert (await world.user(*TOKEN)).name == "sa"
        with pytest.raises(Unauthorized):
            await world.user(("Authorization", "Bearer wrong"))
    assert len(world.cluster.reviews) == 2
    del world.cluster.users["t1"]
    world.now = 10.0
    with pytest.raises(Unauthorized):
        await world.user(*TOKEN)
    kept = world.authenticator._tokens._answers._cache._kept  # pyright: ignore[reportPrivateUsage]
    assert kept
    assert all(len(key) == 32 and b"t1" not in key for key in kept)


@pytest.mark.parametrize("error", [Forbidden("may not"), Unreachable("secret address")])
async def test_a_token_that_cannot_be_checked_is_unauthorized_and_forgotten(error: KubeError) -> None:
    world = World()
    world.cluster.fails = [error]
    with pytest.raises(Unauthorized) as caught:
        await world.user(*TOKEN)
    assert str(caught.value) == "Unauthorized"
    assert "secret" not in caught.value.cause
    assert (await world.user(*TOKEN)).name == "sa"


@pytest.mark.parametrize("user", [{}, {"username": ""}, {"username": None}, {"username": 7}])
async def test_a_user_without_a_name_is_none(user: dict[str, object]) -> None:
    world = World()
    world.cluster.users["t1"] = user
    with pytest.raises(Unauthorized):
        await world.user(*TOKEN)


async def test_a_token_that_is_no_text_is_not_sent_anywhere() -> None:
    world = World()
    with pytest.raises(Unauthorized):
        await world.user(("Authorization", "Bearer \udcff"))
    assert world.cluster.reviews == []


@pytest.mark.parametrize(
    ("value", "token"),
    [
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER abc def", "abc"),
        ("Bearer ", ""),
        ("Bearer", ""),
        ("Bearer  abc", ""),
        ("Basic abc", ""),
        ("", ""),
    ],
)
def test_the_token_is_the_word_after_bearer(value: str, token: str) -> None:
    assert bearer_token(CIMultiDict({"authorization": value})) == token
