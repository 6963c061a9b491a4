"""Other sources of the store: dcgm-exporter and more to come."""
