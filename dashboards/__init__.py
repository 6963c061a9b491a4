"""Grafana dashboards, alerts and recording rules for infscale's metrics: tables of which JSON and YAML are made.

Here belong what is shown (`boards`), what is warned of (`alerting`), how each becomes a file, and pictures of boards
(`rendering`). What a metric means belongs to the code that exports it. ``python -m dashboards`` writes the files;
nothing of this package is part of an installation.
"""
