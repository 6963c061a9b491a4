"""Pictures of boards without Grafana: their JSON, asked of a Prometheus, as a page of SVG charts in Grafana's layout.

It is for the documentation and for tests that look at boards in a browser; it shows what the boards use and no more.
``python -m dashboards.rendering`` does it for any Prometheus.
"""
