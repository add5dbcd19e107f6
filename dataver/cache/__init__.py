"""Local data that can be deleted and rebuilt or fetched again (invariant 5)."""
