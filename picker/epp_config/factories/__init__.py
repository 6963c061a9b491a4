"""Factories: from a plugin's parameters to the stage that runs."""
