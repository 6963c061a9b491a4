"""Composition root: the commands of the `infscale` program."""
