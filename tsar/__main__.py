"""``python -m tsar`` is ``tsar``."""

import sys

from tsar.cli import main

sys.exit(main())
