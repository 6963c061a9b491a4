"""Alerts and recording rules: tables of them, and the files that Prometheus and the Prometheus Operator read."""
