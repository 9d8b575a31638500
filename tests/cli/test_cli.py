"""Commands print and write what the library computes; each error is one line."""

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer

import tsar
from tsar.cli.app import app
from tsar.cli.catalog import CATALOG, read_catalog
from tsar.cli.generate_catalog import _descriptions, generate_catalog
from tsar.cli.options import FLAGS
from tsar.cli.output import show_progress
from tsar.evaluation.benchmarking import Protocol
from tsar.forecasters import FORECASTERS, ARNet, Naive, NLinear, SeasonalNaive

ROOT = Path(__file__).resolve().parents[2]


Run = Callable[..., Any]  # the fixture of conftest.py


@pytest.fixture(scope="module")
def sales() -> pd.DataFrame:
    """Two series with a week in them, daily."""
    noise = np.random.default_rng(0).normal(scale=0.1, size=(2, 84))
    days = pd.date_range("2024-01-01", periods=84)
    wave = np.sin(np.arange(84) * 2 * np.pi / 7)
    frame = pd.DataFrame({"unique_id": "east", "ds": days, "y": 5 + wave + noise[0], "price": wave})
    other = frame.assign(unique_id="west", y=9 - wave + noise[1])
    return pd.concat([frame, other], ignore_index=True)


@pytest.fixture
def long_file(sales: pd.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "sales.csv"
    sales.drop(columns="price").to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def wide(sales: pd.DataFrame) -> pd.DataFrame:
    table = sales.pivot(index="ds", columns="unique_id", values="y").rename_axis(columns=None)
    return table.rename_axis("day")


@pytest.fixture
def wide_file(wide: pd.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "wide.csv"
    wide.to_csv(path)
    return path


# --- forecast ---------------------------------------------------------------------------------


def test_forecast_of_a_long_file_equals_the_library(
    run: Run, long_file: Path, sales: pd.DataFrame, tmp_path: Path
) -> None:
    output = tmp_path / "forecast.csv"
    words = ("--set", "order=10", "--level", 80, "--level", 95, "--quantile", 0.9)
    done = run("forecast", long_file, "--horizon", 3, *words, "--output", output)
    model = ARNet(10, horizon=3).fit(sales.drop(columns="price"))
    expected = model.predict(level=[80, 95], quantile_levels=[0.9])
    pd.testing.assert_frame_equal(pd.read_csv(output, parse_dates=["ds"]), expected)
    assert done.out == f"forecast  {output}  (6 rows)\n"
    assert done.err == ""


def test_forecast_of_a_wide_file_is_wide(
    run: Run, wide_file: Path, wide: pd.DataFrame, tmp_path: Path
) -> None:
    output = tmp_path / "forecast.csv"
    command = ("forecast", wide_file, "--model", "seasonal-naive", "--horizon", 2)
    run(*command, "--output", output)
    model = SeasonalNaive(horizon=2).fit(wide)
    result = pd.read_csv(output, index_col=0, parse_dates=True)
    pd.testing.assert_frame_equal(result, model.predict(), check_freq=False)
    run(*command, "--output", output, "--level", 80)
    result = pd.read_csv(output, index_col=0)
    names = [f"{series}{end}" for series in ("east", "west") for end in ("", "-lo-80", "-hi-80")]
    assert list(result) == names
    np.testing.assert_allclose(result.to_numpy(), model.predict(level=80).to_numpy())


@pytest.mark.parametrize("ending", (".parquet", ".csv.gz"))
def test_parquet_and_compressed_csv_files(
    run: Run, wide: pd.DataFrame, sales: pd.DataFrame, tmp_path: Path, ending: str
) -> None:
    write = "to_parquet" if ending == ".parquet" else "to_csv"
    read = pd.read_parquet if ending == ".parquet" else pd.read_csv
    for frame, keep in ((sales.drop(columns="price"), False), (wide, True)):
        source, output = tmp_path / f"in{ending}", tmp_path / f"out{ending}"
        getattr(frame, write)(source, index=keep)
        run("forecast", source, "--model", "naive", "--horizon", 1, "--output", output)
        expected = Naive().fit(frame).predict()
        result = read(output).reset_index() if keep else read(output)
        np.testing.assert_allclose(result.iloc[:, -1], expected.iloc[:, -1])


def test_forecast_of_a_data_set_uses_its_horizon_and_prints_the_first_rows(run: Run) -> None:
    done = run("forecast", "co2", "--model", "naive")
    assert done.out.startswith("Naive, 52 points ahead\n")
    assert "2002-01-05   371.50" in done.out
    assert "... and 40 more rows; --output FILE writes all of them" in done.out
    assert "\x1b" not in done.out
    assert done.err == ""


def test_column_names_are_options(run: Run, sales: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "sales.csv"
    named = sales.rename(columns={"unique_id": "shop", "ds": "day", "y": "amount"})
    named[["shop", "day", "amount"]].to_csv(path, index=False)
    columns = ("--id", "shop", "--time", "day", "--target", "amount")
    done = run("forecast", path, *columns, "--model", "naive", "--horizon", 1, "--json")
    rows = json.loads(done.out)["forecast"]
    assert [row["shop"] for row in rows] == ["east", "west"]
    assert rows[0]["day"] == "2024-03-25T00:00:00"
    assert rows[0]["Naive"] == pytest.approx(named["amount"][83])


def test_ids_with_leading_zeros_are_text_and_others_integers(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "ids.csv"
    for ids, expected in ((("007", "008"), ["007", "008"]), (("10", "9"), [9, 10])):
        rows = [f"{name},{time},{time}" for name in ids for time in (1, 2, 3)]
        path.write_text("\n".join(["unique_id,ds,y", *rows]))
        done = run("forecast", path, "--model", "naive", "--horizon", 1, "--json")
        assert [row["unique_id"] for row in json.loads(done.out)["forecast"]] == expected


def test_future_covariates_are_read_from_a_file(
    run: Run, sales: pd.DataFrame, tmp_path: Path
) -> None:
    known, ahead = sales[sales["ds"] < "2024-03-20"], sales[sales["ds"] >= "2024-03-20"]
    known.to_csv(tmp_path / "known.csv", index=False)
    ahead.drop(columns="y").to_csv(tmp_path / "ahead.csv", index=False)
    words = ("--future-covariate", "price", "--future", tmp_path / "ahead.csv", "--horizon", 5)
    done = run("forecast", tmp_path / "known.csv", *words, "--set", "order=3", "--json")
    model = ARNet(3, horizon=5, columns=tsar.Columns(future=("price",))).fit(known)
    result = [row["ARNet"] for row in json.loads(done.out)["forecast"]]
    np.testing.assert_allclose(result, model.predict(future=ahead)["ARNet"])


@pytest.mark.parametrize(("ending", "start"), ((".png", b"\x89PNG"), (".svg", b"<?xml")))
def test_plot_writes_a_picture(run: Run, wide_file: Path, ending: str, start: bytes) -> None:
    picture = wide_file.with_suffix(ending)
    command = ("forecast", wide_file, "--model", "naive", "--horizon", 4, "--level", 80)
    done = run(*command, "--plot", picture)
    assert picture.read_bytes().startswith(start)
    assert done.out.endswith(f"picture   {picture}\n")


# --- settings and configuration files ---------------------------------------------------------


def _parameters(run: Run, folder: Path, *words: object) -> dict[str, Any]:
    """Parameters of the model that `tsar fit` makes of some words."""
    run("fit", *words, "--save", folder)
    result: dict[str, Any] = json.loads(run("inspect", folder, "--json").out)["parameters"]
    return result


def test_settings_are_converted_to_the_types_of_parameters(
    run: Run, long_file: Path, tmp_path: Path
) -> None:
    words = ("order=5", "sparsity=none", "ridge=1", "strategy=direct", "columns.freq=D")
    settings = [part for word in words for part in ("--set", word)]
    result = _parameters(run, tmp_path / "model", long_file, "--horizon", 2, *settings)
    assert (result["order"], result["sparsity"], result["ridge"]) == (5, None, 1)
    assert (result["strategy"], result["columns"]["freq"], result["horizon"]) == ("direct", "D", 2)


def test_settings_of_training_options(run: Run, long_file: Path, tmp_path: Path) -> None:
    words = ("--set", "training.epochs=1", "--set", "context_length=7", "--set", "device=cpu")
    result = _parameters(run, tmp_path / "model", long_file, "--model", "nlinear", *words)
    assert result["training"]["epochs"] == 1
    assert result["training"]["batch_size"] == tsar.Training().batch_size
    assert result["verbose"] == 0


def test_command_line_takes_precedence_over_the_configuration_file(
    run: Run, long_file: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f'input = "{long_file.as_posix()}"\nmodel = "arnet"\nhorizon = 4\nlevel = 80\n'
        "[set]\norder = 6\nridge = 1.0\nsparsity = 'none'\n[set.columns]\nfreq = 'D'\n"
    )
    done = json.loads(run("forecast", "--config", config, "--json").out)
    assert len(done["forecast"]) == 8
    assert list(done["forecast"][0])[2:] == ["ARNet", "ARNet-lo-80", "ARNet-hi-80"]
    done = json.loads(
        run("forecast", "--config", config, "--json", "--horizon", 1, "--level", 50).out
    )
    assert len(done["forecast"]) == 2
    assert list(done["forecast"][0])[2:] == ["ARNet", "ARNet-lo-50", "ARNet-hi-50"]
    fit = tmp_path / "fit.toml"
    fit.write_text(config.read_text().replace("level = 80\n", ""))
    result = _parameters(run, tmp_path / "model", "--config", fit, "--set", "order=5")
    assert (result["order"], result["ridge"], result["sparsity"]) == (5, 1.0, None)


# --- backtest and benchmark -------------------------------------------------------------------


def test_backtest_equals_the_library(
    run: Run, long_file: Path, sales: pd.DataFrame, tmp_path: Path
) -> None:
    output = tmp_path / "cv.csv"
    models = ("--model", "arnet", "--model", "long=arnet", "--model", "seasonalnaive")
    settings = ("--set", "order=8", "--set", "long.order=15")
    words = ("--horizon", 7, "--windows", 2, "--level", 80, "--output", output, "--json")
    done = run("backtest", long_file, *models, *settings, *words)
    named = {
        "ARNet": ARNet(8, horizon=7),
        "long": ARNet(15, horizon=7),
        "SeasonalNaive": SeasonalNaive(horizon=7),
    }
    frame = sales.drop(columns="price")
    cv = tsar.cross_validation(named, frame, horizon=7, n_windows=2, level=80)
    names = ["mae", "rmse", "smape", "mase", "coverage"]
    expected = tsar.evaluate(cv, names, train=frame).reset_index()
    pd.testing.assert_frame_equal(pd.DataFrame(json.loads(done.out)["scores"]), expected)
    written = pd.read_csv(output, parse_dates=["ds", "cutoff"])
    pd.testing.assert_frame_equal(written, cv)


def test_backtest_by_series(run: Run, long_file: Path) -> None:
    models = ("--model", "naive", "--model", "seasonalnaive")
    words = ("--horizon", 7, "--windows", 1, "--by", "series", "--metric", "mase")
    done = run("backtest", long_file, *models, *words)
    lines = done.out.splitlines()
    assert lines[0] == "sales.csv: 7 points ahead, 1 window a series"
    assert lines[2].split() == ["unique_id", "model", "mase"]
    rows = [line.split() for line in lines[4:8]]
    assert [row[0] for row in rows] == ["east", "east", "west", "west"]
    score = {(series, model): float(value) for series, model, value in rows}
    assert score["east", "SeasonalNaive"] < score["east", "Naive"]


@pytest.mark.parametrize("style", ("long", "wide"))
def test_backtest_drops_covariates_that_a_model_cannot_use(
    run: Run, sales: pd.DataFrame, tmp_path: Path, style: str
) -> None:
    path = tmp_path / "sales.csv"
    east = sales[sales["unique_id"] == "east"]
    if style == "long":
        sales.to_csv(path, index=False)
    else:
        east[["ds", "y", "price"]].rename(columns={"ds": "day", "y": "east"}).to_csv(
            path, index=False
        )
    words = ("--future-covariate", "price", "--horizon", 7, "--windows", 2, "--metric", "mae")
    done = run("backtest", path, *words, "--set", "order=3", "--json")
    scores = {row["model"]: row["mae"] for row in json.loads(done.out)["scores"]}
    frame = sales if style == "long" else east
    models = [
        ARNet(3, horizon=7, columns=tsar.Columns(future=("price",))),
        SeasonalNaive(horizon=7),
    ]
    cv = tsar.cross_validation(models, frame, horizon=7, n_windows=2)
    assert scores == pytest.approx(tsar.evaluate(cv, ["mae"])["mae"].to_dict())


def test_benchmark_equals_the_library(
    run: Run, wide: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = Protocol("ETTh1", wide, train=50, validation=64)
    monkeypatch.setattr("tsar.evaluation.benchmarking.read_protocol", lambda *_: protocol)
    words = ("--model", "naive", "--model", "snaive=seasonalnaive", "--horizon", 2, "--horizon", 7)
    done = run("benchmark", "ETTh1", *words, "--json")
    scores = json.loads(done.out)["scores"]
    expected = tsar.benchmark("ETTh1", {"naive": Naive(), "snaive": SeasonalNaive()}, [2, 7])
    assert [row["horizon"] for row in scores] == [2, 2, 7, 7]
    np.testing.assert_allclose([row["mse"] for row in scores], expected["mse"])
    assert "snaive" in run("benchmark", "ETTh1", *words).out


# --- saved models -----------------------------------------------------------------------------


def test_predict_with_a_saved_model_equals_forecast(
    run: Run, long_file: Path, tmp_path: Path
) -> None:
    folder, words = tmp_path / "model", ("--horizon", 3, "--set", "order=8")
    done = run("fit", long_file, *words, "--save", folder)
    assert done.out.startswith("model   ARNet, fitted to 2 series of sales.csv")
    fresh = json.loads(run("forecast", long_file, *words, "--level", 80, "--json").out)
    saved = json.loads(run("predict", folder, "--level", 80, "--json").out)
    again = json.loads(run("predict", folder, long_file, "--level", 80, "--json").out)
    assert saved["forecast"] == fresh["forecast"] == again["forecast"]
    further = json.loads(run("predict", folder, "--horizon", 5, "--json").out)
    assert len(further["forecast"]) == 10
    picture = tmp_path / "forecast.png"
    run("predict", folder, "--plot", picture)
    assert picture.stat().st_size > 10_000
    done = run("inspect", folder)
    assert "fitted up to  2024-03-24" in done.out
    assert "order 8" in " ".join(done.out.split())
    assert "lags used" in done.out  # of its summary


@pytest.mark.parametrize("form", ("array", "vector", "series", "wide"))
def test_predict_with_a_model_fitted_to_an_array_or_a_wide_frame(
    run: Run, wide: pd.DataFrame, tmp_path: Path, form: str
) -> None:
    forms = {"array": wide.to_numpy(), "vector": wide["east"].to_numpy(), "series": wide["east"]}
    SeasonalNaive(7, horizon=2).fit(forms.get(form, wide)).save(tmp_path / "model")
    done = json.loads(run("predict", tmp_path / "model", "--level", 80, "--json").out)
    result = [row["SeasonalNaive"] for row in done["forecast"]]
    expected = wide[["east"] if form in ("vector", "series") else ["east", "west"]].iloc[-7:-5]
    np.testing.assert_allclose(result, expected.to_numpy().T.reshape(-1))


# --- lists ------------------------------------------------------------------------------------


def test_models_lists_the_registry(run: Run) -> None:
    listed = json.loads(run("models", "--json").out)
    assert [row["name"] for row in listed] == [kind.__name__ for kind in FORECASTERS]
    for row, kind in zip(listed, FORECASTERS, strict=True):
        assert row["summary"] == (kind.__doc__ or "").splitlines()[0]
        assert set(row["covariates"]) == kind.uses
        assert row["summary"] in run("models").out


def test_the_catalog_is_up_to_date() -> None:
    stored = CATALOG.read_text(encoding="utf-8")
    assert stored == generate_catalog(), "run `make catalog` and commit tsar/cli/catalog.json"


@pytest.mark.parametrize("kind", FORECASTERS, ids=lambda kind: kind.__name__)
def test_the_catalog_matches_the_constructors(kind: type) -> None:
    info = read_catalog()[kind.__name__]
    parameters = list(inspect.signature(kind).parameters.values())
    assert [p.name for p in info.parameters] == [p.name for p in parameters]
    defaults = [None if p.default is None else eval(p.default) for p in info.parameters]
    assert defaults == [None if p.default is p.empty else p.default for p in parameters]
    assert all(p.description in " ".join((kind.__doc__ or "").split()) for p in info.parameters)
    assert all(p.description for p in info.parameters)
    options = {"columns": tsar.Columns, "training": tsar.Training}
    assert info.options.keys() == options.keys() & {p.name for p in parameters}
    for name, fields in info.options.items():
        assert all(field.description for field in fields)
        assert [field.name for field in fields] == list(inspect.signature(options[name]).parameters)


def test_flags_of_errors_are_options() -> None:
    commands = typer.main.get_command(app).commands.values()
    options = {option for command in commands for param in command.params for option in param.opts}
    assert {flag.split()[0] for flag in FLAGS.values()} <= options


def test_models_describes_the_parameters_of_a_model(run: Run) -> None:
    info = read_catalog()["ARNet"]
    done = run("models", "AR-Net").out
    assert done.startswith(f"ARNet: {info.summary}\n")
    lines = done.splitlines()
    [epochs] = [line.split(None, 2) for line in lines if line.startswith("training.epochs")]
    assert epochs[1] == str(tsar.Training().epochs)
    assert info.options["training"][0].description.startswith(epochs[2].strip().rstrip("."))
    assert max(len(line) for line in lines if "─" not in line) < 165


def test_datasets_lists_and_describes_data_sets(run: Run) -> None:
    listed = json.loads(run("datasets", "--json").out)
    assert [row["name"] for row in listed] == tsar.datasets.names()
    assert "Mauna Loa" in run("datasets").out
    done = run("datasets", "co2").out
    assert "59 weeks are missing, and stay NaN." in done
    assert json.loads(run("datasets", "co2", "--json").out)["season_length"] == 52


# --- errors -----------------------------------------------------------------------------------


USER_ERRORS = {
    "a model": (
        ("forecast", "elnino", "--model", "arnt"),
        "there is no model 'arnt'. Did you mean 'ARNet'?",
    ),
    "a parameter": (
        ("forecast", "elnino", "--set", "ordr=3"),
        "ARNet has no parameter 'ordr'. Did you mean 'order'?",
    ),
    "a parameter of the training": (
        ("forecast", "elnino", "--set", "training.epoch=3"),
        "ARNet has no parameter 'training.epoch'. Did you mean 'training.epochs'?",
    ),
    "the training as a whole": (
        ("forecast", "elnino", "--set", "training=3"),
        "training must be set by field, such as training.epochs",
    ),
    "a value": (
        ("forecast", "elnino", "--set", "ridge=much"),
        "ridge must be float; got 'much'.",
    ),
    "a value that the model refuses": (
        ("forecast", "elnino", "--set", "order=0"),
        "order must be an integer of at least 1; got 0.",
    ),
    "a setting without a value": (
        ("forecast", "elnino", "--set", "order"),
        "--set must be KEY=VALUE, such as order=48; got 'order'.",
    ),
    "the horizon as a setting": (
        ("forecast", "elnino", "--set", "horizon=3"),
        "--set can't set the horizon; use --horizon.",
    ),
    "a data set": (
        ("forecast", "elnin"),
        "INPUT must be a file or the name of a data set; got 'elnin'. Did you mean 'elnino'?",
    ),
    "a file": (("forecast", "nowhere.csv"), "there is no file 'nowhere.csv'."),
    "a folder": (("forecast", "."), "INPUT must be a file or a data set; got the folder '.'."),
    "a command": (("forcast", "elnino"), "no such command 'forcast'. Did you mean 'forecast'?"),
    "an option": (
        ("forecast", "elnino", "--horizn", "3"),
        "there is no option --horizn. Did you mean --horizon?",
    ),
    "no input": (("forecast",), "missing argument 'INPUT'."),
    "horizon 0": (("forecast", "elnino", "--horizon", "0"), "--horizon must be at least 1; got 0."),
    "a horizon in words": (
        ("forecast", "elnino", "--horizon", "ten"),
        "invalid value for '--horizon'",
    ),
    "a level": (("forecast", "elnino", "--level", "800"), "--level must be"),
    "a quantile": (("forecast", "elnino", "--quantile", "80"), "--quantile must be"),
    "no such output folder": (
        ("forecast", "elnino", "--output", "nowhere/x.csv"),
        "'nowhere/x.csv' can't be written: no folder",
    ),
    "the extension of an output": (
        ("forecast", "elnino", "--output", "x.xlsx"),
        "--output must end in .csv, .csv.gz, .parquet; got 'x.xlsx'.",
    ),
    "the extension of a picture": (
        ("forecast", "elnino", "--plot", "x.gif"),
        "--plot must end in .png, .svg, .pdf; got 'x.gif'.",
    ),
    "a metric": (
        ("backtest", "elnino", "--metric", "mse2"),
        "there is no metric 'mse2'. Did you mean 'mse'?",
    ),
    "what is scored apart": (
        ("backtest", "elnino", "--by", "hour"),
        "--by must be one of series, cutoff; got 'hour'.",
    ),
    "one model twice": (
        ("backtest", "elnino", "--model", "arnet", "--model", "arnet"),
        "--model must name each model once; got 'ARNet' twice.",
    ),
    "a benchmark": (
        ("benchmark", "ETTh3"),
        "there is no data set 'ETTh3'. Did you mean",
    ),
    "a benchmark without splits": (("benchmark", "co2"), "dataset must have a published split"),
    "a data set to describe": (("datasets", "ninjo"), "there is no data set 'ninjo'. Did you mean"),
    "a model to describe": (("models", "x"), "there is no model 'x'. Known are ARNet,"),
    "a saved model": (("predict", "nowhere"), "folder must be one that a model was saved to"),
    "a forecaster for a saved model": (
        ("inspect", "arnet"),
        "FOLDER must be one that a model was saved to; got 'arnet', a forecaster. `tsar models ",
    ),
    "a column for a file": (
        ("forecast", "elnino", "--future", "costs"),
        "--future must be a file with future covariates; there is none at 'costs'. Name a column",
    ),
    "too many windows": (
        ("backtest", "elnino", "--model", "naive", "--horizon", "12", "--windows", "900"),
        "series must have more than 10800 points for these windows; got 732 for series",
    ),
    "a configuration file": (
        ("forecast", "--config", "config.toml"),
        "there is no configuration file 'config.toml'.",
    ),
}


@pytest.mark.parametrize("words, message", USER_ERRORS.values(), ids=USER_ERRORS.keys())
def test_user_errors_are_one_line_with_advice(
    run: Run,
    words: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*words, code=2)
    assert done.out == ""
    assert done.err.startswith(f"error: {message}")
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_missing_horizon_or_column_is_an_error(run: Run, wide_file: Path, long_file: Path) -> None:
    done = run("forecast", wide_file, code=2)
    assert done.err == "error: --horizon must be the number of points to forecast; got none.\n"
    done = run("forecast", long_file, "--horizon", 1, "--time", "day", code=2)
    assert "must have the time column 'day'" in done.err
    done = run("forecast", long_file, "--horizon", 1, "--target", "sales", code=2)
    assert "must have the target column 'sales'" in done.err


@pytest.mark.parametrize(
    ("text", "message"),
    (
        ("", "No columns to parse from file"),
        ("ds;y\n2024-01-01;3\n", "its columns must be separated by commas; got semicolons"),
        ("ds,y\nyesterday,3\n", "ds must hold dates, periods or integers"),
        ("value\n1\n2\n", "got only the column 'value'. Add the times."),
        ("ds,y\n2024-01-01,much\n", "'y' must hold numbers; got 'much'"),
        ("ds,y\n", "frame must have rows and columns; got shape (0, 2)"),
    ),
)
def test_unreadable_files_are_errors(run: Run, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "file.csv"
    path.write_text(text)
    done = run("forecast", path, "--horizon", 1, code=2)
    assert message in done.err
    assert done.err.count("\n") == 1


def test_errors_name_options_instead_of_arguments(run: Run) -> None:
    done = run("backtest", "elnino", "--model", "naive", "--windows", "900", code=2)
    assert "Lower --horizon, --windows or --step" in done.err


def test_times_with_several_utc_offsets_are_read_as_utc(run: Run, tmp_path: Path) -> None:
    hours = pd.date_range("2024-03-30 20:00", periods=12, freq="h", tz="Europe/Berlin")
    lines = [f"{hour.isoformat()},{k}" for k, hour in enumerate(hours)]
    path = tmp_path / "hours.csv"
    path.write_text("\n".join(["ds,y", *lines]))
    result = json.loads(run("forecast", path, "--model", "naive", "--horizon", 2, "--json").out)
    utc = hours.tz_convert("UTC")[-1]
    result = [pd.Timestamp(row["ds"]) for row in result["forecast"]]
    assert result == [utc + pd.Timedelta(f"{k}h") for k in (1, 2)]
    assert "read as UTC" in " ".join(run("forecast", "--help").out.split())
    path.write_text("\n".join(["ds,y", *lines, "2024-03-31 09:00,3"]))
    run("forecast", path, "--model", "naive", "--horizon", 2, code=2)


def test_series_named_na_is_not_missing(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "regions.csv"
    rows = [f"{name},{day},{day}" for name in ("EU", "NA", "null") for day in range(5)]
    path.write_text("\n".join(["unique_id,ds,y", *rows]))
    result = json.loads(run("forecast", path, "--model", "naive", "--horizon", 1, "--json").out)
    assert [row["unique_id"] for row in result["forecast"]] == ["EU", "NA", "null"]
    path.write_text("\n".join(["unique_id,ds,y", *rows, ",5,5"]))
    done = run("forecast", path, "--model", "naive", "--horizon", 1, code=2)
    assert "must name a series in every row; got a missing value in row 15" in done.err


def test_parameters_that_share_a_docstring_entry_have_their_own_descriptions() -> None:
    class Example:
        """Summary.

        Parameters
        ----------
        device, seed
            ``"auto"``, ``"cpu"``; seed of the
            network.
        id, time
            Names of columns.
        """

    assert dict(_descriptions(Example)) == {
        "device": '``"auto"``, ``"cpu"``',
        "seed": "seed of the network.",
        "id": "Names of columns.",
        "time": "Names of columns.",
    }


def test_gap_error_names_the_option_fill_gaps(run: Run, wide: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "gap.csv"
    wide.drop(wide.index[5]).to_csv(path)
    command = ("forecast", path, "--model", "naive", "--horizon", 1)
    done = run(*command, code=2)
    assert "first at 2024-01-06" in done.err
    assert "--fill-gaps" in done.err
    assert "Columns(" not in done.err
    run(*command, "--fill-gaps")


@pytest.mark.parametrize(
    ("text", "message"),
    (
        ("horizon = ", "must be TOML"),
        ("horizn = 3", "has an unknown key 'horizn'. Did you mean 'horizon'?"),
        ("set = 3", "'set' in a configuration file must be a table; got 3."),
        ("horizon = 'ten'", "invalid value for '--horizon'"),
        ("[set]\nleng = 3", "ARNet has no parameter 'leng'."),
    ),
)
def test_invalid_configuration_files_are_errors(
    run: Run, tmp_path: Path, text: str, message: str
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text)
    done = run("forecast", "elnino", "--config", config, code=2)
    assert done.out == ""
    assert message in done.err
    assert done.err.count("\n") == 1


def test_damaged_and_unfitted_models_are_errors(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    Naive().fit([1.0, 2.0]).save(folder)
    (folder / "config.json").write_text("{")
    done = run("predict", folder, code=2)
    assert done.err.startswith("error: folder must hold")
    assert done.err.count("\n") == 1
    Naive().save(folder / "new")
    done = run("predict", folder / "new", code=2)
    assert done.err == "error: the saved Naive must be fitted before it forecasts.\n"


def test_failed_write_keeps_the_existing_file(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "forecast.csv"
    output.write_text("old")

    def fail(self: pd.DataFrame, path: Path, **options: object) -> None:
        Path(path).write_text("half a li")
        raise OSError("No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    done = run("forecast", "elnino", "--model", "naive", "--output", output, code=2)
    assert done.err == "error: No space left on device\n"
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [
        ("forecast.csv", "old")
    ]


# --- process ----------------------------------------------------------------------------------


def test_debug_prints_the_traceback_of_an_unexpected_error(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise RuntimeError("a wheel came off")

    monkeypatch.setattr("tsar.datasets.load", fail)
    done = run("forecast", "elnino", code=1)
    assert done.err.startswith("error: RuntimeError: a wheel came off.")
    assert done.err.count("\n") == 1
    done = run("forecast", "elnino", "--debug", code=1)
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1].startswith("error: RuntimeError: a wheel came off.")


def test_ctrl_c_exits_without_output(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tsar.datasets.load", interrupt)
    done = run("forecast", "elnino", code=130)
    assert (done.out, done.err) == ("", "")


def test_help_and_models_import_neither_torch_nor_pandas() -> None:
    program = (
        "import sys; from tsar.cli import main; "
        "codes = [main(['--help']), main(['forecast', '--help']), main(['models', 'arnet'])]; "
        "print(codes, [name for name in ('torch', 'pandas', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.splitlines()[-1] == "[0, 0, 0] []"
    assert "--future-covariate" in done.stdout
    assert "\x1b" not in done.stdout


def test_closed_pipe_is_not_an_error() -> None:
    command = [sys.executable, "-m", "tsar", "models", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""


def test_version_and_help_without_a_command(run: Run) -> None:
    assert run("--version").out == f"tsar {tsar.__version__}\n"
    assert "forecast" in run().out


def test_progress_bars_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    trained, closed = NLinear(), Naive()
    with show_progress("fitting", [trained, closed]):
        assert trained.verbose == 0
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with show_progress("fitting", [trained, closed]):
        assert trained.verbose == 1
    assert trained.verbose == 0
