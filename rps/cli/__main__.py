"""python -m rps.cli is the same as rps."""

import sys

from rps.cli import main

if __name__ == "__main__":
    sys.exit(main())
