"""Metrics of endpoints: samples, windows, the store and its snapshots; pure code, no input or output."""
