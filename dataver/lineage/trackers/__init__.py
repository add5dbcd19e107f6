"""Experiment trackers: which of their runs is active, and how each is told of the versions it used.

`base` has the protocol, which others can implement, and the list of those that apply in this process.
"""
