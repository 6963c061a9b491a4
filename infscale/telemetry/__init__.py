"""infscale's own metrics: the page, what is on it, and the server that shows it.

Metrics of picker and adapter are theirs; metrics of model servers are in `infscale.metrics`.
"""
