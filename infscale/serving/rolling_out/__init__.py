"""Rollouts as they run in a process: time, results and commands come in, and their state is shown and kept."""
