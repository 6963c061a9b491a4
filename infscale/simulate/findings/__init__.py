"""What runs say: summaries, estimates over seeds, comparisons in words, tables, JSON, plots."""
