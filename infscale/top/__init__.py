"""`infscale top`: the documents of a running process in a terminal: keys, what they do, drawing, asking.

What is shown is made in `infscale.viewing`, which the web page shares; arguments are read in `infscale.cli.top`.
"""
