"""From a run to its data, from data to every run that saw it.

Names are imported from the modules that hold them, when they are needed: a fetch that notes its run must not
pay for SQLite or for questions nobody asks.
"""
