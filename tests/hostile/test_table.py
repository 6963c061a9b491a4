"""The table of docs/hardening.md has what the hostile tests send, no more and no less."""

import pytest

from tests.hostile.table import PAGE, TESTS, inputs, renewed

FEWEST = 60
"""Inputs over all surfaces."""
SURFACES = ("metrics pages", "clients", "gateways", "users of the API", "discovery files")


@pytest.mark.parametrize("surface", TESTS)
def test_every_hostile_test_is_told_of(surface: str) -> None:
    module, told = TESTS[surface]
    assert {name for name in vars(module) if name.startswith("test_")} == set(told)


@pytest.mark.parametrize("surface", TESTS)
def test_no_input_is_told_of_twice(surface: str) -> None:
    names = [name for name, _ in inputs(surface)]
    assert len(names) == len(set(names))


def test_every_surface_is_tried_with_many_inputs() -> None:
    assert all(len(inputs(surface)) >= 10 for surface in SURFACES)
    assert sum(len(inputs(surface)) for surface in SURFACES) >= FEWEST


def test_the_page_has_the_table_as_it_is() -> None:
    page = PAGE.read_text()
    assert page == renewed(page), "python -m tests.hostile.table renews it"
