"""For tests of dataver and of stores: faulty stores, the store contract as tests, object-store servers.

Nothing here is imported by dataver itself.
"""
