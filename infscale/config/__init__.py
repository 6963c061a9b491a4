"""The one configuration file of `infscale serve`: what it can say (`settings`), and how it is read (`read`).

`docs/configuration.md` has a table of every key.
"""
