"""The reference endpoint picker's command line, translated into a configuration of `infscale serve`; pure code.

The program that takes this command line is in `infscale.cli`.
"""
