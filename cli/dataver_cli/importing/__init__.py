"""The commands of `dataver import`, one a tool."""
