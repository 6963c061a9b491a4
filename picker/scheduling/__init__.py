"""Filters, scorers, pickers and the profiles that combine them; pure code."""
