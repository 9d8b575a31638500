"""``python -m tsar`` is ``tsar``."""

import sys

from tsar.cli import main

if __name__ == "__main__":
    sys.exit(main())
