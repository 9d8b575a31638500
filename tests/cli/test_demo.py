"""The demonstration computes what it says, and writes what it names."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

import tsar
from tsar.cli import demo, main
from tsar.forecasters import ARNet, SeasonalNaive


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> demo.Demo:
    return demo.run(tmp_path_factory.mktemp("demo") / "out")


@pytest.fixture(scope="module")
def forecast(shown: demo.Demo) -> pd.DataFrame:
    return pd.read_csv(shown.files["forecast"], parse_dates=["ds"])


def test_the_forecasts_begin_where_the_data_end(forecast: pd.DataFrame) -> None:
    assert list(forecast) == ["unique_id", "ds", "ARNet", "ARNet-lo-80", "ARNet-hi-80"]
    co2 = forecast[forecast["unique_id"] == "co2"]
    assert len(co2) == 52
    assert co2["ds"].min() == pd.Timestamp("2002-01-05")
    quarters = forecast[forecast["unique_id"] != "co2"].groupby("unique_id")["ds"]
    assert set(quarters.size()) == {4}
    assert set(quarters.groups) == set(tsar.datasets.load("macrodata"))
    assert (quarters.min() == pd.Timestamp("2009-10-01")).all()
    assert forecast["ARNet"].between(forecast["ARNet-lo-80"], forecast["ARNet-hi-80"]).all()


def test_the_forecast_is_that_of_the_model_it_names(forecast: pd.DataFrame) -> None:
    co2 = tsar.datasets.load("co2")
    expected = ARNet(104, horizon=52).fit(co2).predict(level=80)
    pd.testing.assert_frame_equal(forecast[forecast["unique_id"] == "co2"], expected)


def test_the_scores_are_those_of_the_backtest(shown: demo.Demo) -> None:
    frame = tsar.datasets.load("macrodata")
    models = [ARNet(12, horizon=4), SeasonalNaive(horizon=4)]
    cv = tsar.cross_validation(models, frame, horizon=4, n_windows=8, level=80)
    expected = tsar.evaluate(cv, ["mase", "rmse", "coverage"], train=frame)
    pd.testing.assert_frame_equal(shown.backtests[1].scores, expected)


def test_arnet_beats_the_seasonal_naive_on_both_data_sets(shown: demo.Demo) -> None:
    for backtest in shown.backtests:
        for score in ("mase", "rmse"):
            assert backtest.scores[score]["ARNet"] < backtest.scores[score]["SeasonalNaive"]


def test_a_sentence_says_what_its_table_says(shown: demo.Demo) -> None:
    for backtest, sentence in zip(shown.backtests, shown.conclusions, strict=True):
        mase, coverage = backtest.scores["mase"], backtest.scores["coverage-80"]
        change, _, held = (int(number) for number in re.findall(r"(\d+) %", sentence))
        assert change == round(100 * (1 - mase["ARNet"] / mase["SeasonalNaive"]))
        assert "below" in sentence
        assert held == round(100 * coverage["ARNet"])


def test_a_worse_forecast_would_be_called_so() -> None:
    models = pd.Index(["ARNet", "SeasonalNaive"], name="model")
    scores = pd.DataFrame({"mase": [3.0, 2.0], "coverage-80": [0.5, 0.6]}, index=models)
    sentence = demo._conclude(demo.Backtest("here", "", scores))
    assert "50 % above" in sentence
    assert "held 50 %" in sentence


def test_the_picture_is_a_picture(shown: demo.Demo) -> None:
    assert shown.files["picture"].read_bytes().startswith(b"\x89PNG")


def test_the_command_prints_tables_sentences_and_where_the_files_are(
    shown: demo.Demo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(demo, "run", lambda folder: shown)
    assert main(["demo", "--output", str(tmp_path)]) == 0
    said = capsys.readouterr()
    for backtest, sentence in zip(shown.backtests, shown.conclusions, strict=True):
        assert f"{backtest.title}\n" in said.out
        assert f"{sentence}\n" in said.out
    assert said.out.endswith(f"picture   {shown.files['picture']}\n")
    assert said.err == ""
    assert main(["demo", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["files"]["forecast"] == str(shown.files["forecast"])
    assert [len(backtest["scores"]) for backtest in found["backtests"]] == [2, 2]


def test_a_folder_that_cannot_be_made_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("here")
    assert main(["demo", "--output", str(tmp_path / "file" / "out")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ") and said.err.count("\n") == 1
