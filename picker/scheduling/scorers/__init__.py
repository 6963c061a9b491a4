"""Scorers: stages that rate candidates in [0, 1], 1 the best."""
