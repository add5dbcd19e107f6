"""What the lineage index is asked: plain SQL in, values out, at a cost that grows with the answer."""
