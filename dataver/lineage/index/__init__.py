"""The local index of runs and links: a database derived from the events of a repository."""
