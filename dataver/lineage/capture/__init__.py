"""Capture of a run's environment: the systems that it belongs to, its code and its machine.

Invariant 8: nothing here starts a run, imports a tracker, or raises into training. Secrets are redacted.
"""
