"""The composition: collector, picker and adapter in one process on one store.

Arguments and output of commands belong to `infscale.cli`.
"""
