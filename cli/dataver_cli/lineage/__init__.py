"""The commands of `dataver lineage`, one a file."""
