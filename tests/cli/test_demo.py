"""`tsar demo`: its scores, sentences and files are those of the library."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

import tsar
from tsar.cli import demo, main
from tsar.forecasters import ARNet, SeasonalNaive


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> demo.Demo:
    return demo.run(tmp_path_factory.mktemp("demo") / "out")


@pytest.fixture(scope="module")
def forecast(result: demo.Demo) -> pd.DataFrame:
    return pd.read_csv(result.files["forecast"], parse_dates=["ds"])


def test_forecasts_start_after_the_data(forecast: pd.DataFrame) -> None:
    assert list(forecast) == ["unique_id", "ds", "ARNet", "ARNet-lo-80", "ARNet-hi-80"]
    co2 = forecast[forecast["unique_id"] == "co2"]
    assert len(co2) == 52
    assert co2["ds"].min() == pd.Timestamp("2002-01-05")
    quarters = forecast[forecast["unique_id"] != "co2"].groupby("unique_id")["ds"]
    assert set(quarters.size()) == {4}
    assert set(quarters.groups) == set(tsar.datasets.load("macrodata"))
    assert (quarters.min() == pd.Timestamp("2009-10-01")).all()
    assert forecast["ARNet"].between(forecast["ARNet-lo-80"], forecast["ARNet-hi-80"]).all()


def test_forecast_equals_the_library(forecast: pd.DataFrame) -> None:
    co2 = tsar.datasets.load("co2")
    expected = ARNet(104, horizon=52).fit(co2).predict(level=80)
    pd.testing.assert_frame_equal(forecast[forecast["unique_id"] == "co2"], expected)


def test_scores_equal_the_library(result: demo.Demo) -> None:
    frame = tsar.datasets.load("macrodata")
    models = [ARNet(12, horizon=4), SeasonalNaive(horizon=4)]
    cv = tsar.cross_validation(models, frame, horizon=4, n_windows=8, level=80)
    expected = tsar.evaluate(cv, ["mase", "rmse", "coverage"], train=frame)
    pd.testing.assert_frame_equal(result.backtests[1].scores, expected)


def test_arnet_beats_the_seasonal_naive_on_both_data_sets(result: demo.Demo) -> None:
    for backtest in result.backtests:
        for score in ("mase", "rmse"):
            assert backtest.scores[score]["ARNet"] < backtest.scores[score]["SeasonalNaive"]


def test_conclusions_agree_with_the_scores(result: demo.Demo) -> None:
    for backtest, sentence in zip(result.backtests, result.conclusions, strict=True):
        mase, coverage = backtest.scores["mase"], backtest.scores["coverage-80"]
        change, _, covered = (int(number) for number in re.findall(r"(\d+) %", sentence))
        assert change == round(100 * (1 - mase["ARNet"] / mase["SeasonalNaive"]))
        assert "below" in sentence
        assert covered == round(100 * coverage["ARNet"])


def test_conclusion_of_a_worse_forecast() -> None:
    models = pd.Index(["ARNet", "SeasonalNaive"], name="model")
    scores = pd.DataFrame({"mase": [3.0, 2.0], "coverage-80": [0.5, 0.6]}, index=models)
    sentence = demo._conclude(demo.Backtest("here", "", scores))
    assert "50 % above" in sentence
    assert "covered 50 %" in sentence


def test_the_picture_is_a_png_file(result: demo.Demo) -> None:
    assert result.files["picture"].read_bytes().startswith(b"\x89PNG")


def test_command_prints_tables_conclusions_and_paths(
    result: demo.Demo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(demo, "run", lambda folder: result)
    assert main(["demo", "--output", str(tmp_path)]) == 0
    output = capsys.readouterr()
    for backtest, sentence in zip(result.backtests, result.conclusions, strict=True):
        assert f"{backtest.title}\n" in output.out
        assert f"{sentence}\n" in output.out
    assert output.out.endswith(f"picture   {result.files['picture']}\n")
    assert output.err == ""
    assert main(["demo", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["files"]["forecast"] == str(result.files["forecast"])
    assert [len(backtest["scores"]) for backtest in document["backtests"]] == [2, 2]


def test_unwritable_folder_is_an_error_of_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("here")
    assert main(["demo", "--output", str(tmp_path / "file" / "out")]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ") and output.err.count("\n") == 1
