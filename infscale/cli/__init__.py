"""The commands of the `infscale` program: arguments, output and exit codes.

Parts are started and connected in `infscale.serving`.
"""
