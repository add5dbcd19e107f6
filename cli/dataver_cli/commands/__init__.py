"""The commands, one a file; `dataver_cli.main` imports each one only when it is used."""
