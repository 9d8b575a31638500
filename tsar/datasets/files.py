"""Locates or downloads the files of a data set, and verifies their SHA-256."""

import gzip
import hashlib
import io
import os
import shutil
import tempfile
import urllib.request
import warnings
import zipfile
from importlib import resources
from pathlib import Path

from tqdm import tqdm

from tsar.datasets.registry import DatasetFile
from tsar.runtime.cache import cache_folder

_TIMEOUT = 60  # seconds without data, not for the whole file


def find(file: DatasetFile) -> Path:
    """Return the path of a verified copy of `file`, plain or gzipped, downloading it if needed."""
    path = locate(file)
    if path is None:
        return _download(file)
    _verify(file, path, str(path))
    return path


def locate(file: DatasetFile) -> Path | None:
    """Return the path of `file` in its package, in TSAR_DATA or in the cache; None if absent."""
    if file.package is not None:
        return Path(str(resources.files(file.package) / file.name))
    folder = _data_folder()
    copies = [] if folder is None else [*folder.rglob(file.name), *folder.rglob(f"{file.name}.gz")]
    cached = cache_folder() / file.name
    if copies:
        return min(copies)
    return cached if cached.exists() else None


def open_file(path: Path) -> gzip.GzipFile | io.BufferedReader:
    """Open a plain or gzipped file for reading its uncompressed content."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _data_folder() -> Path | None:
    name = os.environ.get("TSAR_DATA")
    if not name:
        return None
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise ValueError(
            f"TSAR_DATA must name a folder; got {name!r}. Create it, or unset the variable."
        )
    return folder


def _download(file: DatasetFile) -> Path:
    """Download, unpack and verify a file in a hidden folder, then rename it into the cache."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary:
        downloaded = Path(temporary) / "download"
        _fetch(file, downloaded)
        unpacked = _unpack(file, downloaded)
        _verify(file, unpacked, str(file.url))
        return unpacked.replace(folder / file.name)


def _fetch(file: DatasetFile, path: Path) -> None:
    try:
        with urllib.request.urlopen(str(file.url), timeout=_TIMEOUT) as response:
            size = int(response.headers.get("Content-Length") or 0) or None
            # disable=None shows the progress bar in a terminal only.
            with (
                tqdm.wrapattr(response, "read", total=size, desc=file.name, disable=None) as stream,
                path.open("wb") as target,
            ):
                shutil.copyfileobj(stream, target)
    except OSError as error:
        raise OSError(
            f"{file.name} must be on this machine or downloadable; got {error} from {file.url}. "
            "Download it by hand, put it in a folder, gzipped or not, and set TSAR_DATA to it."
        ) from error


def _unpack(file: DatasetFile, downloaded: Path) -> Path:
    unpacked = downloaded.with_name(file.name)
    if str(file.url).endswith(".zip"):
        _unzip(file, downloaded, unpacked)
    elif str(file.url).endswith(".gz"):
        with gzip.open(downloaded) as source, unpacked.open("wb") as target:
            shutil.copyfileobj(source, target)
    else:
        downloaded.rename(unpacked)
    return unpacked


def _unzip(file: DatasetFile, downloaded: Path, unpacked: Path) -> None:
    members = zipfile.ZipFile(downloaded).namelist() if zipfile.is_zipfile(downloaded) else []
    member = next((member for member in members if Path(member).name == file.name), None)
    if member is None:
        raise ValueError(
            f"{file.url} must be an archive that holds {file.name}; got {members or 'no archive'}. "
            "Download the file by hand, put it in a folder, and set TSAR_DATA to it."
        )
    with zipfile.ZipFile(downloaded) as archive, archive.open(member) as source:
        unpacked.write_bytes(source.read())


def _verify(file: DatasetFile, path: Path, origin: str) -> None:
    with open_file(path) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    expected = file.sha256 or _first_digest(file, digest, origin)
    if digest != expected:
        source = f" from {file.url}" if file.url else ""
        raise ValueError(
            f"{file.name} must have the SHA-256 {expected}; got {digest} from {origin}. "
            f"Its publisher changed it or it is damaged: get another copy{source}."
        )


def _first_digest(file: DatasetFile, digest: str, origin: str) -> str:
    """Return the recorded digest of the first copy; record that of this copy if there is none."""
    record = cache_folder() / f"{file.name}.sha256"
    if record.exists():
        return record.read_text(encoding="ascii").strip()
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(f"{digest}\n", encoding="ascii")
    warnings.warn(
        f"The SHA-256 of {file.name} is not known; this copy, {digest} from {origin}, is trusted, "
        f"and any other will be refused. Delete {record} to accept another one.",
        UserWarning,
        stacklevel=5,  # the caller of load,
    )
    return digest
