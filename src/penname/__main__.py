"""Run the command line: python -m penname."""

import sys

from penname.cli import main

sys.exit(main())
