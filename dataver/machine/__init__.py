"""This machine and its user: folders, configuration files, process identity, measured speeds, clocks."""
