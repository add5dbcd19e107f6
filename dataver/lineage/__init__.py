"""Lineage: which runs consumed and produced which versions.

Names are imported from their modules where they are needed: a fetch that records its run must not import
SQLite and the queries.
"""
