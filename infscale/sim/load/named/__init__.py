"""Workloads by name: the table of them, their parameters, and how they are asked for."""
