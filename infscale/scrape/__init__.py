"""Scraping of model servers."""
