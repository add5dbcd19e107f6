"""What is captured of a run: the systems it belongs to, and the code and machine it ran with.

Invariant 8: nothing here starts a run, imports a tracker, or raises into training; and no secret is kept.
"""
