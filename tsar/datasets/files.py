"""Finds a file of a data set, or fetches it, and checks that it is the right one."""

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

_TIMEOUT = 60  # seconds without a byte, not for the whole file


def find(file: DatasetFile) -> Path:
    """Return the path of a checked copy of `file`, plain or gzipped, downloading it if need be."""
    path = locate(file)
    if path is None:
        return _download(file)
    _check(file, path, str(path))
    return path


def locate(file: DatasetFile) -> Path | None:
    """Return where `file` is: in its package, in TSAR_DATA, in the cache, or nowhere."""
    if file.package is not None:
        return Path(str(resources.files(file.package) / file.name))
    folder = _data_folder()
    found = [] if folder is None else [*folder.rglob(file.name), *folder.rglob(f"{file.name}.gz")]
    cached = cache_folder() / file.name
    if found:
        return min(found)
    return cached if cached.exists() else None


def open_file(path: Path) -> gzip.GzipFile | io.BufferedReader:
    """Open a plain or gzipped file for reading its unzipped content."""
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _data_folder() -> Path | None:
    named = os.environ.get("TSAR_DATA")
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise ValueError(
            f"TSAR_DATA must name a folder; got {named!r}. Create it, or unset the variable."
        )
    return folder


def _download(file: DatasetFile) -> Path:
    """Fetch, unpack and check a file out of sight, then move it to its place in one step."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch:
        fetched = Path(scratch) / "fetched"
        _fetch(file, fetched)
        unpacked = _unpack(file, fetched)
        _check(file, unpacked, str(file.url))
        return unpacked.replace(folder / file.name)


def _fetch(file: DatasetFile, path: Path) -> None:
    try:
        with urllib.request.urlopen(str(file.url), timeout=_TIMEOUT) as answer:
            size = int(answer.headers.get("Content-Length") or 0) or None
            # disable=None shows the bar in a terminal only.
            with (
                tqdm.wrapattr(answer, "read", total=size, desc=file.name, disable=None) as stream,
                path.open("wb") as target,
            ):
                shutil.copyfileobj(stream, target)
    except OSError as error:
        raise OSError(
            f"{file.name} must be here or be downloadable; got {error} from {file.url}. Fetch it "
            "by hand, put it in a folder, gzipped or not, and name that folder in TSAR_DATA."
        ) from error


def _unpack(file: DatasetFile, fetched: Path) -> Path:
    unpacked = fetched.with_name(file.name)
    if str(file.url).endswith(".zip"):
        _unzip(file, fetched, unpacked)
    elif str(file.url).endswith(".gz"):
        with gzip.open(fetched) as source, unpacked.open("wb") as target:
            shutil.copyfileobj(source, target)
    else:
        fetched.rename(unpacked)
    return unpacked


def _unzip(file: DatasetFile, fetched: Path, unpacked: Path) -> None:
    members = zipfile.ZipFile(fetched).namelist() if zipfile.is_zipfile(fetched) else []
    member = next((member for member in members if Path(member).name == file.name), None)
    if member is None:
        raise ValueError(
            f"{file.url} must be an archive that holds {file.name}; got {members or 'no archive'}. "
            "Fetch the file by hand and put it in a folder that TSAR_DATA names."
        )
    with zipfile.ZipFile(fetched) as archive, archive.open(member) as source:
        unpacked.write_bytes(source.read())


def _check(file: DatasetFile, path: Path, origin: str) -> None:
    with open_file(path) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    expected = file.sha256 or _remembered_digest(file, digest, origin)
    if digest != expected:
        raise ValueError(
            f"{file.name} must have the SHA-256 {expected}; got {digest} from {origin}. "
            f"Its publisher changed it or it is damaged: get another copy{_from(file)}."
        )


def _from(file: DatasetFile) -> str:
    return f" from {file.url}" if file.url else ""


def _remembered_digest(file: DatasetFile, digest: str, origin: str) -> str:
    """Return the digest of the first copy that was seen here, which may be this one."""
    note = cache_folder() / f"{file.name}.sha256"
    if note.exists():
        return note.read_text(encoding="ascii").strip()
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(f"{digest}\n", encoding="ascii")
    warnings.warn(
        f"The SHA-256 of {file.name} is not known; this copy, {digest} from {origin}, is trusted, "
        f"and any other will be refused. Delete {note} to accept another one.",
        UserWarning,
        stacklevel=5,  # the caller of load,
    )
    return digest
