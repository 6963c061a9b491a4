"""Filters: stages that drop candidates.

Their parameters are read in `picker.epp_config.factories`.
"""
