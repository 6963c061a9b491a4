"""The store: samples, windows, snapshots and what they mean; pure code, no input or output."""
