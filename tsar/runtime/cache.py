"""Location of the download cache."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder of downloads: TSAR_CACHE, else ~/.cache/tsar. It need not exist yet."""
    return Path(os.environ.get("TSAR_CACHE") or Path.home() / ".cache" / "tsar").expanduser()
