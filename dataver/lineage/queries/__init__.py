"""Queries of the lineage index: plain SQL, at a cost proportional to the result."""
