"""The command line of dataver: arguments in, one library call, text or JSON out, an exit code."""
