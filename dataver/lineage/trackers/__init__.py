"""Experiment trackers: detection of their active runs, and writing of uses to them.

`base` has the protocol, which other packages can implement, and the list of trackers of this process.
"""
