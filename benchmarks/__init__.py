"""Measurements of speed, each a module to be run by `python -m`."""
