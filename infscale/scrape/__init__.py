"""Scraping of model servers: targets, connections, limits of answers, and the processes that scrape.

What a page says is read in `infscale.metrics.pages`.
"""
