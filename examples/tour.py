"""Runs azdriver on real files, start to end: ``python examples/tour.py --help``."""

import sys

from guided_run.cli import main

if __name__ == "__main__":
    sys.exit(main())
