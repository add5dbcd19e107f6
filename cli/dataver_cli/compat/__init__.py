"""The commands of `dataver compat`, one a program of another tool."""
