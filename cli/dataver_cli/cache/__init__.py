"""The commands of `dataver cache`, one a file."""
