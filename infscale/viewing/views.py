"""Which page is shown of a view."""

from collections.abc import Callable, Mapping
from typing import Final

from infscale.viewing.autoscaler_views import autoscaler_page
from infscale.viewing.endpoint_views import endpoint_page
from infscale.viewing.explanations import explanation_page, pick_page
from infscale.viewing.grid import Page, View, ViewKind, path_to
from infscale.viewing.model_views import model_page
from infscale.viewing.pool_views import pool_page, store_page
from infscale.viewing.seen_documents import Seen
from infscale.viewing.trigger_views import trigger_page

_PAGES: Final[Mapping[ViewKind, Callable[[Seen, View], Page | None]]] = {
    ViewKind.STORE: store_page,
    ViewKind.POOL: pool_page,
    ViewKind.ENDPOINT: endpoint_page,
    ViewKind.MODEL: model_page,
    ViewKind.AUTOSCALER: autoscaler_page,
    ViewKind.TRIGGER: trigger_page,
    ViewKind.PICK: pick_page,
}


def view_page(seen: Seen, view: View) -> Page:
    """What is shown of `view`; of what has gone, that it has."""
    page = _PAGES[view.kind](seen, view)
    if page is None:
        return Page(path_to(view), (f"there is no {view.kind.value} {view.name or view.pool} now",), ())
    return explanation_page(seen, view, page) if view.explains else page
