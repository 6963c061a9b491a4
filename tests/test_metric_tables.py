"""docs/metrics.md lists every metric that is exported or published, and every gauge, with its meaning."""

from tests.own_metrics import PAGE, SECTIONS, families, renewed


def test_the_page_has_every_metric_as_it_is() -> None:
    page = PAGE.read_text()
    assert all(f"## {section}\n" in page for section in ("Published metrics", "Gauges of engines", *SECTIONS))
    assert renewed(page) == page, "renew the tables with: python -m tests.own_metrics"


def test_a_help_text_stands_alone() -> None:
    """It says more than its name, in words that do not lean on another text."""
    for section in SECTIONS:
        for family in families(section):
            words = family.documentation.split()
            assert len(words) >= 3, family.name
            assert words[0] not in {"the", "their", "its", "this", "same"}, family.name


def test_one_label_names_one_thing() -> None:
    """What names endpoints, pools and statuses is called so wherever it is ours.

    Pages of node agents have the labels of Kubernetes: they know pods, and not which are endpoints.
    """
    labels = {
        label
        for section in SECTIONS
        if section != "Node agent"
        for family in families(section)
        if family.name.startswith("infscale_")
        for label in getattr(family, "_labelnames", ())
    }
    assert not labels & {"target", "pod", "server", "code", "status_code", "error"}
