"""Test tools: stores with injected faults, and the store contract as tests. Not used by dataver itself."""
