"""Data sets: locating, downloading and verifying files, and the frames that are read from them."""

import gzip
import hashlib
import os
import subprocess
import sys
import warnings
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest
from statsmodels import datasets as statsmodels_datasets

from tsar import datasets
from tsar.datasets import Dataset, DatasetFile
from tsar.datasets.files import find, locate
from tsar.datasets.layouts import READERS
from tsar.datasets.registry import read_registry

REAL_DATA = os.environ.get("TSAR_DATA")
CONTENT = b"date,a,b\n2020/1/9 0:00,1,2\n2020/1/10 0:00,3,-9999\n2020/1/10 0:00,3,-9999\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
WRONG = "0" * 64

needs_real_data = pytest.mark.skipif(
    REAL_DATA is None, reason="TSAR_DATA names no folder of data sets"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no folder of data sets."""
    monkeypatch.setenv("TSAR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TSAR_DATA", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder in the role of a publisher's server, reached by file:// addresses."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "x.csv").write_bytes(CONTENT)
    (folder / "x.csv.gz").write_bytes(gzip.compress(CONTENT))
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.writestr("inner/x.csv", CONTENT)
    return folder


def file_at(path: Path, sha256: str | None = DIGEST) -> DatasetFile:
    return DatasetFile("x.csv", url=path.as_uri(), sha256=sha256)


def register(monkeypatch: pytest.MonkeyPatch, file: DatasetFile, **known: object) -> None:
    dataset = Dataset(
        name="x", title="", source="", licence="", layout="wide", freq="D", season_length=1,
        horizon=1, rows=3, series=2, files=(file,), **known,
    )  # fmt: skip
    monkeypatch.setattr("tsar.datasets.registry.read_registry", lambda: {"x": dataset})


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.zip"])
def test_a_download_is_unpacked_verified_and_cached(
    name: str, published: Path, cache: Path
) -> None:
    path = find(file_at(published / name))
    assert path == cache / "x.csv"
    assert path.read_bytes() == CONTENT
    assert os.listdir(cache) == ["x.csv"]


def test_a_file_is_downloaded_over_http_only_once() -> None:
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        file = DatasetFile("x.csv", f"http://127.0.0.1:{server.server_port}/x.csv", sha256=DIGEST)
        assert find(file) == find(file)
        server.shutdown()
    assert requests == ["/x.csv"]


def test_a_download_with_an_unexpected_digest_is_refused_and_not_cached(
    published: Path, cache: Path
) -> None:
    file = file_at(published / "x.csv", WRONG)
    with pytest.raises(ValueError, match=WRONG) as error:
        find(file)
    assert DIGEST in str(error.value)
    assert str(file.url) in str(error.value)
    assert os.listdir(cache) == []


def test_the_error_of_a_failed_download_says_what_to_do(published: Path, cache: Path) -> None:
    with pytest.raises(OSError, match=r"missing\.csv.*by hand.*TSAR_DATA"):
        find(file_at(published / "missing.csv"))
    assert os.listdir(cache) == []


def test_an_archive_without_the_file_is_refused(published: Path, cache: Path) -> None:
    (published / "page.zip").write_text("<html>")
    with pytest.raises(ValueError, match=r"must be an archive that holds x\.csv; got no archive"):
        find(file_at(published / "page.zip"))
    with zipfile.ZipFile(published / "other.zip", "w") as archive:
        archive.writestr("y.csv", "")
    with pytest.raises(ValueError, match=r"got \['y\.csv'\]"):
        find(file_at(published / "other.zip"))
    assert os.listdir(cache) == []


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_a_file_in_the_data_folder_is_used_instead_of_a_download(
    name: str, published: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "deep"
    folder.mkdir(parents=True)
    (published / name).rename(folder / name)
    monkeypatch.setenv("TSAR_DATA", str(tmp_path / "data"))
    file = DatasetFile("x.csv", url="file:///nowhere", sha256=DIGEST)
    assert find(file) == folder / name
    assert not cache.exists()
    register(monkeypatch, file)
    assert datasets.load("x")["a"].tolist() == [1, 3, 3]


def test_a_file_in_the_data_folder_is_verified(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TSAR_DATA", str(published))
    with pytest.raises(ValueError, match=r"x\.csv must have the SHA-256"):
        find(file_at(published / "x.csv", WRONG))


def test_a_missing_data_folder_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSAR_DATA", "no/such/folder")
    with pytest.raises(ValueError, match="TSAR_DATA must name a folder; got 'no/such/folder'"):
        locate(DatasetFile("x.csv", url="file:///nowhere"))


def test_an_unknown_digest_is_recorded_once_and_a_change_refused(
    published: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, file_at(published / "x.csv", None))
    with pytest.warns(UserWarning, match=DIGEST):
        datasets.load("x")
    assert (cache / "x.csv.sha256").read_text() == f"{DIGEST}\n"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        datasets.load("x")
    (cache / "x.csv").write_bytes(b"other")
    with pytest.raises(ValueError, match=DIGEST):
        datasets.load("x")


def test_defects_are_corrected_unless_raw_is_true(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"missing_value": -9999.0, "rename": {"b": "B"}, "repeated_rows": True}
    register(monkeypatch, file_at(published / "x.csv"), **known)
    frame = datasets.load("x")
    index = pd.DatetimeIndex(["2020-01-09", "2020-01-10"], name="ds")
    expected = pd.DataFrame({"a": [1, 3], "B": [2, np.nan]}, index=index)
    pd.testing.assert_frame_equal(frame, expected, check_index_type=False)
    raw = datasets.load("x", raw=True)
    assert list(raw.columns) == ["a", "b"]
    assert raw["b"].tolist() == [2, -9999, -9999]


def test_the_error_of_an_unknown_name_suggests_a_similar_one() -> None:
    with pytest.raises(ValueError, match=r"got 'Eth1'\. Did you mean 'ETTh1'\?"):
        datasets.load("Eth1")
    with pytest.raises(ValueError, match=r"Did you mean"):
        datasets.describe("")


@pytest.mark.parametrize("dataset", read_registry().values(), ids=lambda dataset: dataset.name)
def test_every_entry_of_the_registry_is_complete(dataset: Dataset) -> None:
    assert dataset.title
    assert dataset.source.startswith("https://")
    assert dataset.licence
    assert dataset.layout in READERS
    assert min(dataset.season_length, dataset.horizon, dataset.rows, dataset.series) >= 1
    assert dataset.split is None or sum(dataset.split) <= dataset.rows
    for file in dataset.files:
        assert (file.url is None) != (file.package is None)
        assert file.url is None or file.url.startswith("https://")
        assert file.sha256 is None or (len(file.sha256) == 64 and int(file.sha256, 16) > 0)


def test_the_table_has_a_row_for_every_name() -> None:
    table = datasets.describe()
    assert list(table.index) == datasets.names()
    assert table["here"].sum() == 5  # those that come with a package


def test_packaged_sets_equal_those_of_statsmodels() -> None:
    sunspots = statsmodels_datasets.sunspots.load_pandas().data
    frame = datasets.load("sunspots")
    assert frame["y"].tolist() == sunspots["SUNACTIVITY"].tolist()
    assert frame["ds"].dt.year.tolist() == sunspots["YEAR"].tolist()
    co2 = statsmodels_datasets.co2.load_pandas().data["co2"]
    ours = datasets.load("co2").set_index("ds")["y"]
    pd.testing.assert_series_equal(ours, co2, check_names=False, check_freq=False)
    elnino = statsmodels_datasets.elnino.load_pandas().data.set_index("YEAR")
    ours = datasets.load("elnino").set_index("ds")["y"]
    assert ours["1997-08-01"] == elnino.loc[1997, "AUG"]
    assert ours.mean() == pytest.approx(elnino.to_numpy().mean())


@pytest.mark.parametrize(
    "name", [dataset.name for dataset in read_registry().values() if dataset.files[0].package]
)
def test_packaged_sets_have_the_size_and_frequency_of_the_registry(name: str) -> None:
    dataset, frame = datasets.describe(name), datasets.load(name)
    assert len(frame) == dataset.rows
    times = frame.index if dataset.layout == "quarters" else frame["ds"]
    assert list(times) == list(pd.date_range(times[0], periods=dataset.rows, freq=dataset.freq))


@needs_real_data
@pytest.mark.parametrize("name", ["ETTh1", "ETTm1", "weather", "exchange"])
def test_downloaded_wide_sets_have_the_size_of_the_registry(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TSAR_DATA", str(REAL_DATA))
    dataset, frame = datasets.describe(name), datasets.load(name, raw=True)
    assert frame.shape == (dataset.rows, dataset.series)
    assert frame.index.name == "ds"
    assert frame.index[1] - frame.index[0] == pd.Timedelta(
        pd.tseries.frequencies.to_offset(dataset.freq)
    )


@needs_real_data
def test_weather_keeps_its_gap_and_its_missing_values_are_nan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TSAR_DATA", str(REAL_DATA))
    frame = datasets.load("weather")
    steps = frame.index.to_series().diff().value_counts()
    assert steps.to_dict() == {pd.Timedelta("10min"): 52693, pd.Timedelta("100min"): 1}
    assert frame.isna().sum().sum() == 81
    assert frame.min().min() > -9999
    assert "SWDR (W/m²)" in frame.columns


@needs_real_data
@pytest.mark.parametrize("name", ["m4_hourly", "m3_monthly", "sunspot_daily"])
def test_downloaded_long_sets_have_the_size_of_the_registry(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TSAR_DATA", str(REAL_DATA))
    dataset, frame = datasets.describe(name), datasets.load(name)
    assert list(frame.columns) == ["unique_id", "ds", "y"]
    assert len(frame) == dataset.rows
    assert frame["unique_id"].nunique() == dataset.series
    assert not frame.isna().any().any()


@needs_real_data
def test_m4_series_end_with_their_test_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TSAR_DATA", str(REAL_DATA))
    first = datasets.load("m4_hourly").query("unique_id == 'H1'")
    assert first["ds"].tolist() == list(range(1, 749))
    assert first["y"].iloc[[0, 1, -48]].tolist() == [605, 586, 619]


def test_importing_the_data_sets_does_not_import_torch() -> None:
    code = "import sys, tsar.datasets; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
