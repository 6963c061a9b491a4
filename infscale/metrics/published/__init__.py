"""The reading side: the published metrics, formulas of them, and how each is read from a snapshot.

Nothing here changes what is stored.
"""
