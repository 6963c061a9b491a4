"""The reference picker's flow control, by its configuration: orders, fairness, ceilings, evictions and outcomes.

Pure code that behaves as llm-d-router does, for those who bring its configuration. Ours, which needs no thresholds, is
in `picker.flow`.
"""
