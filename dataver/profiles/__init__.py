"""Profiles: what the files of a version are, found once for each file digest."""
