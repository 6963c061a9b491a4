"""What is known of copies, as the document `/debug/shadow` has it."""

from infscale.telemetry.histogram import Histogram
from picker.shadowing.shadow_books import RATIO_BOUNDS, ShadowBooks, Sides, Way, WayCounts

SLOWER: float = 1.25
"""A copy that takes longer than so many times the request is slower; it is one of `RATIO_BOUNDS`."""


def shadow_document(books: ShadowBooks) -> dict[str, object]:
    """Every way, in the order of the configuration."""
    return {"shadows": [_way(way, counts) for way, counts in books.ways.items()]}


def _way(way: Way, counts: WayCounts) -> dict[str, object]:
    settings = way.settings
    ours, theirs = counts.tokens
    return {
        "pool": str(way.pool),
        "to": str(way.to),
        "model": settings.model,
        "pod_labels": dict(settings.pod_labels or {}),
        "share": settings.share,
        "open_requests": counts.open_requests,
        "held_bytes": counts.held_bytes,
        "drawn": dict(counts.drawn),
        "answers": [
            {"primary": primary, "copy": copy, "count": count} for (primary, copy), count in counts.answers.items()
        ],
        "first_byte": _sides(counts.first_byte),
        "duration": _sides(counts.duration),
        "completion_tokens": {"primary": ours, "copy": theirs},
    }


def _sides(sides: Sides) -> dict[str, object]:
    ratios = sides.ratio.count
    within = dict(sides.ratio.buckets())[str(SLOWER)]
    return {
        "pairs": sides.primary.count,
        "primary_mean_seconds": _mean(sides.primary),
        "copy_mean_seconds": _mean(sides.copy),
        "slower_ratio": (ratios - within) / ratios if ratios else None,
    }


def _mean(histogram: Histogram) -> float | None:
    count = histogram.count
    return histogram.total / count if count else None


if SLOWER not in RATIO_BOUNDS:
    raise ValueError("no bucket ends there")
