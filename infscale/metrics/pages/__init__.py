"""From the text of a metrics page to a sample: lines, names of engines, and what their rows mean.

Fetching pages belongs to `infscale.scrape`, keeping what they say to `infscale.metrics.store`.
"""
