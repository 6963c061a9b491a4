"""Places among connections: how many there may be, and which one goes."""

from picker.transport.server.places import MOST_NEW, Places


def places(most: int = 4, of_peer: int = 3, busy: frozenset[str] = frozenset()) -> Places[str]:
    return Places(most, of_peer, lambda each: None if each in busy else float(each[1:]))


def test_of_new_connections_the_eldest_goes_for_one_that_comes() -> None:
    made = places(most=1_000, of_peer=1_000)
    for number in range(MOST_NEW):
        assert made.crowded("peer") is None
        made.enter("peer", f"c{number}")
    assert made.crowded("gateway") == "new_connections"
    assert made.dispensable("gateway", "new_connections") == "c0"
    made.prove("c0")
    assert made.crowded("gateway") is None


def test_of_a_peer_with_too_many_the_longest_idle_goes_and_busy_ones_stay() -> None:
    made = places(busy=frozenset({"c1"}))
    for name in ("c1", "c3", "c2"):
        made.enter("peer", name)
        made.prove(name)
    assert made.crowded("other") is None
    assert made.crowded("peer") == "peer_connections"
    assert made.dispensable("peer", "peer_connections") == "c2"


def test_where_all_places_are_taken_the_peer_that_has_most_gives_one_up() -> None:
    made = places()
    for peer, name in (("few", "c1"), ("many", "c5"), ("many", "c4"), ("many", "c6")):
        made.enter(peer, name)
        made.prove(name)
    assert made.crowded("few") == "connections"
    assert made.dispensable("few", "connections") == "c4"


def test_where_none_is_idle_none_goes() -> None:
    made = places(of_peer=1, busy=frozenset({"c1"}))
    made.enter("peer", "c1")
    made.prove("c1")
    assert made.dispensable("peer", "peer_connections") is None
    made.leave("peer", "c1")
    made.leave("peer", "c1")
    assert made.crowded("peer") is None
