"""Transports that carry the exchange to Envoy."""
