"""metasweep: search the whole few-shot learning algorithm."""

__version__ = "0.1.0"
