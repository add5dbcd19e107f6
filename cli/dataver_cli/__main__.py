"""`python -m dataver_cli` is `dataver`."""

import sys

from dataver_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
