"""The parts that ask Prometheus servers: queries of ours, and prometheus-adapter's rules with their file."""
