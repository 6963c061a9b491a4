"""Documents that people write, read strictly: places of values, problems, suggestions, changes of files.

What the keys of a document mean belongs to the package whose document it is.
"""
