"""Benchmarks of the budgets; `python -m bench` prints a table and writes JSON rows."""
