"""The book of a queue: what waits came and has not left, views do not change, names of models are bounded."""

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from infscale.metrics.queued import OTHER_MODELS, QueueView, within
from infscale.metrics.store.queue_book import MOST_MODELS, QueueBook, QueuePlace

WINDOW = 30.0


def book() -> tuple[QueueBook, list[None]]:
    """A book, and as many items as it told of changes."""
    told: list[None] = []
    return QueueBook(0.0, WINDOW, lambda: told.append(None)), told


def waiting(view: QueueView) -> Mapping[str, tuple[int, float]]:
    return {name: (part.requests, part.tokens) for name, part in view.models.items() if part.requests}


def put(into: QueueBook, model: str, tokens: float, at: float) -> QueuePlace:
    place = into.place(model, tokens, at)
    into.came(place)
    return place


def test_what_waits_is_told_by_model_and_every_change_is_told_of() -> None:
    made, told = book()
    first = put(made, "a", 10.0, 1.0)
    put(made, "b", 5.0, 2.0)
    before = made.view()
    assert waiting(before) == {"a": (1, 10.0), "b": (1, 5.0)}
    made.left(first, 3.0)
    assert waiting(made.view()) == {"b": (1, 5.0)}
    assert waiting(before) == {"a": (1, 10.0), "b": (1, 5.0)}, "a view stays as it was"
    assert len(told) == 3


def test_a_place_alone_counts_nothing() -> None:
    made, told = book()
    made.turned_off(made.place("a", 10.0, 1.0))
    assert not waiting(made.view())
    assert [step.refused for step in within(made.view().of("a"), 0.0)] == [1]
    assert len(told) == 1


@given(
    st.lists(
        st.tuples(st.sampled_from(["came", "left", "refused", "passed", "look"]), st.floats(0.0, 5.0)), max_size=60
    )
)
@settings(max_examples=60)
def test_the_counts_are_those_of_what_happened_in_the_window(events: list[tuple[str, float]]) -> None:
    made, _ = book()
    now = 0.0
    places: list[QueuePlace] = []
    ends: list[float] = []
    refusals: list[float] = []
    seen: list[tuple[QueueView, Mapping[str, tuple[int, float]]]] = []
    for event, seconds in events:
        now += seconds
        if event == "came":
            places.append(put(made, "a", 0.1, now))
        elif event == "passed":
            made.passed("a", now)
            ends.append(now)
        elif event == "look":
            seen.append((made.view(), waiting(made.view())))
        elif places:
            made.left(places.pop(0), now, refused=event == "refused")
            ends.append(now)
            refusals += [now] if event == "refused" else []
    view = made.view()
    parts = view.of("a")
    assert sum(part.requests for part in parts) == len(places)
    assert sum(sum(part.arrivals.values()) for part in parts) == len(places)
    assert places or all(part.tokens == 0.0 for part in parts), "what sums of fractions leave is gone"
    steps = within(parts, now - WINDOW)
    counted = sum(step.passed + sum(step.waits.values()) for step in steps)
    # A step is in the window as long as its end is.
    assert sum(end >= now - WINDOW for end in ends) <= counted
    assert counted <= sum(end >= now - WINDOW - WINDOW / 32 for end in ends)
    assert sum(end >= now - WINDOW for end in refusals) <= sum(step.refused for step in steps)
    assert all(waiting(view) == were for view, were in seen), "views stay as they were"
    assert all(len(part.steps) <= 35 for part in parts)


def test_models_that_clients_make_up_share_one_place_once_there_are_many() -> None:
    made, _ = book()
    kept = put(made, "kept", 1.0, 0.0)
    for number in range(MOST_MODELS + 50):
        made.passed(f"model-{number}", 1.0)
    assert len(made.view().models) == MOST_MODELS + 1
    other = put(made, "late", 1.0, 2.0)
    assert other.model == OTHER_MODELS
    assert sum(part.requests for part in made.view().of(None)) == 2, "the pool has them all"
    # When what filled the places is long over, new names have them.
    put(made, "later", 1.0, 100.0)
    assert set(waiting(made.view())) == {"kept", OTHER_MODELS, "later"}
    made.left(other, 100.0)
    made.left(kept, 100.0)
    assert set(waiting(made.view())) == {"later"}
