"""Rollouts for terminals: lines of text, and a table of `infscale top`."""
