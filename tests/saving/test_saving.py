"""Saving and loading: values and models are restored exactly, and folders checked."""

import datetime
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.exceptions import NotFittedError

import tsar.saving.folder
from tsar.data.panel import Columns, Panel
from tsar.data.scaling import Scaling
from tsar.forecasters import Naive, NLinear, SeasonalNaive
from tsar.forecasters.loading import load
from tsar.hmm import CategoricalHMM, GaussianHMM, LinearGaussianHMM
from tsar.intervals import Calibration
from tsar.saving.encoding import decode, encode
from tsar.training import Training

SERIES = np.array([1.0, 4.0, 2.0, 8.0, 5.0, 7.0])
CONFIG, TENSORS = "config.json", "model.safetensors"


@pytest.fixture(scope="module")
def network() -> NLinear:
    training = Training(epochs=1, validation=0.0)
    return NLinear(4, horizon=2, training=training, random_state=0, device="cpu").fit(SERIES)


def round_trip(value: Any) -> Any:
    """The value, encoded to JSON text and tensors and decoded."""
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(encode(value, "value", tensors), allow_nan=False)
    return decode(json.loads(text), tensors)


def equal(left: Any, right: Any) -> bool:
    """Recursively of the same type and equal, with NaN equal to NaN."""
    if type(left) is not type(right):
        return False
    if isinstance(left, torch.Tensor):
        return (
            left.dtype == right.dtype
            and torch.equal(left.isnan(), right.isnan())
            and (torch.equal(left.nan_to_num(), right.nan_to_num()))
        )
    if isinstance(left, np.ndarray | np.generic):
        return (
            left.dtype == right.dtype
            and left.shape == right.shape
            and (left.tolist() == right.tolist() or np.array_equal(left, right, equal_nan=True))
        )
    if isinstance(left, pd.Index):
        return left.equals(right) and left.names == right.names and left.dtype == right.dtype
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, dict):
        return equal(list(left.items()), list(right.items()))
    return left == right or left != left


@pytest.mark.parametrize(
    "value",
    (
        None,
        True,
        3,
        2**70,
        0.1 + 0.2,
        -0.0,
        math.nan,
        math.inf,
        -math.inf,
        "Zürich \N{SNOWMAN} \ud800",
        [],
        [1, [2.5, None]],
        (1, ("a", math.nan)),
        (),
        {"a": 1, 2: (3,), (4, "b"): [5]},
        {},
        np.arange(6, dtype=np.int16).reshape(2, 3).T,
        np.array([[1.5, math.nan]], dtype=np.float32),
        np.array(7.0),
        np.empty((0, 3)),
        np.array([True, False]),
        np.array([1 + 2j, 3 - 4j]),
        np.array(["2024-01-01", "NaT"], dtype="M8[s]"),
        np.array([1, 2], dtype="m8[ns]"),
        np.array(["ab", "c"]),
        np.array([["a", 1], [None, 2.5]], dtype=object),
        np.arange(4, dtype=">i4").astype(">i4")[::2].astype("=i4"),
        np.float32(0.1),
        np.int64(-3),
        np.bool_(True),
        np.str_("ab"),
        torch.arange(6).reshape(2, 3).T,
        torch.tensor([math.nan, math.inf]),
        torch.tensor(1.5, dtype=torch.bfloat16),
        torch.tensor([1 + 2j], dtype=torch.complex128),
        torch.empty(0, 2),
        torch.tensor([True]),
        pd.Index([3, 1, 2], name="shop"),
        pd.Index([0.5, math.nan]),
        pd.Index(["a", "ö"], name=("x", 1)),
        pd.Index(["a", 1, 2.5, (3, "b")], dtype=object),
        pd.Index(["a"], dtype="string"),
        pd.Index([1, 2], dtype="Int64"),
        pd.RangeIndex(2, 9, 3, name="k"),
        pd.date_range("2024-03-30", periods=4, tz="Europe/Berlin", unit="s"),
        pd.DatetimeIndex(["2024-01-01", "NaT"]),
        pd.date_range("2024-01-01", periods=2, tz=datetime.timezone(datetime.timedelta(hours=2))),
        pd.period_range("2024-01", periods=3, freq="M", name="month"),
        pd.CategoricalIndex(["b", "a", "b"], categories=["b", "a"], ordered=True, name="c"),
        pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["shop", None]),
        Columns(id="shop", past=("a", "b"), freq="15min"),
        Training(epochs=3, precision="bfloat16"),
    ),
    ids=lambda value: f"{type(value).__name__}-{str(value)[:20]!r}",
)
def test_values_are_restored_with_their_type(value: Any) -> None:
    assert equal(round_trip(value), value)


def test_negative_zero_keeps_its_sign() -> None:
    assert math.copysign(1, round_trip(-0.0)) == -1


def test_big_endian_arrays_are_restored_in_native_byte_order() -> None:
    array = np.array([1, 2], dtype=">i4")
    assert equal(round_trip(array), array.astype("i4"))


def test_frames_are_restored() -> None:
    frame = pd.DataFrame(
        {"loss": [1.0, math.nan], "step": [1, 2]}, index=pd.Index([0, 1], name="epoch")
    )
    pd.testing.assert_frame_equal(round_trip(frame), frame)


def test_panels_are_restored_with_their_labels() -> None:
    frame = pd.DataFrame(
        {
            "shop": ["a", "a", "b"],
            "ds": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-05"]).tz_localize(
                "Asia/Tokyo"
            ),
            "y": [1.0, math.nan, 3.0],
            "price": [1.0, 2.0, 3.0],
            "kind": ["x", "x", "y"],
        }
    )
    panel = Panel.from_frame(frame, Columns(id="shop", future=("price",), static=("kind",)))
    restored = round_trip(panel)
    assert equal(round_trip(panel.labels.ids), panel.labels.ids)
    assert restored.labels.frequency == panel.labels.frequency
    assert restored.labels.layout == panel.labels.layout
    assert restored.labels.columns == panel.labels.columns
    assert restored.labels.categories == panel.labels.categories
    assert equal(restored.labels.starts, panel.labels.starts)
    for name in ("values", "offsets", "past", "future", "static", "category"):
        assert equal(getattr(restored, name), getattr(panel, name))


def test_scaling_and_calibration_are_restored() -> None:
    scaling = Scaling(torch.tensor([1.0]), torch.tensor([2.0]))
    assert equal(vars(round_trip(scaling)), vars(scaling))
    calibration = Calibration(torch.tensor([[0.5, math.nan]]))
    assert equal(vars(round_trip(calibration)), vars(calibration))


def test_views_of_shared_memory_are_saved_separately() -> None:
    values = torch.arange(4.0)
    tensors: dict[str, torch.Tensor] = {}
    encode([values, values[1:], values.expand(2, 4)], "value", tensors)
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors.values()}) == 3
    assert all(tensor.is_contiguous() for tensor in tensors.values())


class Unregistered:
    """A class without a codec."""


@pytest.mark.parametrize(
    "value",
    (
        Unregistered(),
        Unregistered,
        lambda: 0,
        {1, 2},
        np.random.RandomState(0),
        datetime.date(2024, 1, 1),
        torch.nn.Linear(1, 1),
        b"bytes",
        1j,
        pd.IntervalIndex.from_breaks([0, 1]),
    ),
    ids=lambda value: type(value).__name__,
)
def test_values_of_other_types_are_refused_with_their_name(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^params\.1 must be a number, text, array"):
        encode([0, value], "params", {})


@pytest.mark.wrong_types
def test_a_random_state_is_refused_and_leaves_no_folder(tmp_path: Path) -> None:
    model = NLinear(4, random_state=np.random.RandomState(0))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"random_state must be a number, .*; got RandomState"):
        model.save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_parameters_are_restored_with_their_types(tmp_path: Path) -> None:
    model = NLinear(5, training=Training(epochs=3), columns=Columns(id="shop"), random_state=7)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert type(loaded) is NLinear
    assert loaded.get_params() == model.get_params()
    with pytest.raises(NotFittedError):
        loaded.predict()


def test_networks_are_restored_in_eval_mode_with_their_history(
    network: NLinear, tmp_path: Path
) -> None:
    network.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert isinstance(loaded, NLinear)
    assert not loaded.module_.training
    pd.testing.assert_frame_equal(loaded.history_, network.history_)
    assert np.array_equal(loaded.predict(), network.predict())


def test_loading_keeps_the_global_random_state(network: NLinear, tmp_path: Path) -> None:
    network.save(tmp_path / "model")
    before = torch.random.get_rng_state()
    load(tmp_path / "model")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_tied_weights_are_saved_once(tmp_path: Path) -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = torch.nn.Linear(2, 2, bias=False)
            self.second = torch.nn.Linear(2, 2, bias=False)
            self.second.weight = self.first.weight

    class Tying(Naive):
        def _build(self) -> Tied:
            return Tied()

    model = Tying().fit(SERIES)
    model.module_ = Tied()  # type: ignore[attr-defined]
    model.save(tmp_path / "model")
    names = [name for name in load_file(tmp_path / "model" / TENSORS) if "weight" in name]
    loaded = load(tmp_path / "model", classes=[Tying])
    assert names == ["module_.first.weight"]
    assert torch.equal(loaded.module_.second.weight, model.module_.first.weight)  # type: ignore[attr-defined]
    assert loaded.module_.second.weight is loaded.module_.first.weight  # type: ignore[attr-defined]


@pytest.mark.gpu
def test_models_fitted_on_a_gpu_are_loaded_onto_the_cpu(tmp_path: Path) -> None:
    training = Training(epochs=1, validation=0.0)
    model = NLinear(4, horizon=2, training=training, random_state=0, device="cuda").fit(SERIES)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert isinstance(loaded, NLinear)
    assert {tensor.device.type for tensor in loaded.module_.state_dict().values()} == {"cpu"}
    forecast = loaded.set_params(device="cpu").predict()
    np.testing.assert_allclose(forecast, model.predict(), rtol=1e-4)


def test_user_classes_are_loaded_if_they_are_passed(tmp_path: Path) -> None:
    class UserModel(Naive):
        pass

    UserModel().fit(SERIES).save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"must hold a model of one of .*; got 'UserModel'"):
        load(tmp_path / "model")
    assert isinstance(load(tmp_path / "model", classes=[UserModel]), UserModel)


GENERATOR = np.random.default_rng(0)
VALUES = pd.DataFrame({"a": GENERATOR.normal(size=120), "b": GENERATOR.normal(size=120)})
SYMBOLS = GENERATOR.integers(0, 3, size=(120, 1))


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (GaussianHMM("auto", covariance_type="full", n_init=2, random_state=0), VALUES),
        (GaussianHMM(2, covariance_type="tied", n_init=1, random_state=0), VALUES.to_numpy()),
        (CategoricalHMM(2, n_init=1, random_state=0), SYMBOLS),
        (LinearGaussianHMM(1, n_iter=5, random_state=0, device="cpu"), VALUES),
    ],
)
def test_hidden_markov_models_are_restored(model: Any, data: Any, tmp_path: Path) -> None:
    model.fit(data).save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert vars(loaded).keys() == vars(model).keys()
    assert type(loaded) is type(model)
    np.testing.assert_array_equal(loaded.transform(data), model.transform(data))
    assert loaded.score(data) == model.score(data)
    assert loaded.get_feature_names_out().tolist() == model.get_feature_names_out().tolist()


def test_the_files_hold_only_json_and_tensors(network: NLinear, tmp_path: Path) -> None:
    network.save(tmp_path / "model")
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == [CONFIG, TENSORS]
    config = json.loads((tmp_path / "model" / CONFIG).read_text())
    assert config["class"] == "NLinear"
    assert config["params"]["context_length"] == 4
    assert config["params"]["training"]["training"]["epochs"] == 1
    assert set(config["tensors"]) == set(load_file(tmp_path / "model" / TENSORS))


def test_both_files_have_the_same_permissions(tmp_path: Path) -> None:
    Naive().save(tmp_path / "model")
    assert len({path.stat().st_mode for path in (tmp_path / "model").iterdir()}) == 1


def test_models_are_saved_to_new_nested_empty_and_model_folders(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "model"
    for horizon in (1, 2):
        Naive(horizon).save(folder)
        assert load(folder).horizon == horizon
    (tmp_path / "empty").mkdir()
    Naive().save(str(tmp_path / "empty"))
    assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_only_models_are_replaced(tmp_path: Path) -> None:
    Naive().save(tmp_path / "model")
    (tmp_path / "model" / "notes.txt").write_text("other")
    (tmp_path / "file").write_text("other")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / CONFIG).write_text('{"architectures": ["GPT2"]}')
    (tmp_path / "foreign" / TENSORS).write_text("other")
    before = snapshot(tmp_path)
    for name in ("model", "file", "foreign"):
        with pytest.raises(ValueError, match="folder must be new, empty, or hold a model of tsar"):
            Naive(3).save(tmp_path / name)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("failing", ("save_file", "rename"))
def test_a_failed_save_keeps_the_old_model(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    Naive(1).fit(SERIES).save(folder)
    before = snapshot(tmp_path)

    def disk_is_full(*arguments: Any, **options: Any) -> None:
        raise OSError("No space left on device")

    rename = Path.rename

    def second_fails(self: Path, target: Path) -> Path:
        return rename(self, target) if self.name != "new" else disk_is_full()  # type: ignore[func-returns-value]

    if failing == "save_file":
        monkeypatch.setattr(tsar.saving.folder, "save_file", disk_is_full)
    else:
        monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(OSError, match="No space left"):
        Naive(2).fit(SERIES).save(folder)
    assert snapshot(tmp_path) == before


def test_a_path_below_a_file_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("other")
    with pytest.raises(OSError, match="file"):
        Naive().save(tmp_path / "file" / "model")


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"folder must be one that a model was saved to; .*nowhere"
    ):
        load(tmp_path / "nowhere")


def test_the_old_model_left_by_a_killed_save_is_named(tmp_path: Path) -> None:
    Naive().save(tmp_path / ".model-x1" / "old")
    with pytest.raises(FileNotFoundError, match=r", or move '.*\.model-x1/old' there"):
        load(tmp_path / "model")


def delete(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def truncate(name: str, fraction: float) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * fraction)])

    return damage


def edit_config(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        content = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(change(content)))

    return damage


def edit_tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    return lambda folder: save_file(change(load_file(folder / TENSORS)), folder / TENSORS)


def rename_weights(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.replace("weight", "wait"): tensor for name, tensor in tensors.items()}


def set_value(path: list[str], value: Any) -> Callable[[Path], None]:
    def change(content: dict[str, Any]) -> dict[str, Any]:
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        return content

    return edit_config(change)


SCALE = {"tensor": "scale_"}
NO_MODEL, DAMAGED = "folder must hold a model of tsar; got", "folder must hold an intact model; got"


@pytest.mark.parametrize(
    ("damage", "message"),
    (
        (delete(CONFIG), rf"{NO_MODEL}.*there is no config\.json"),
        (truncate(CONFIG, 0.5), rf"{NO_MODEL}.*config\.json is not JSON"),
        (truncate(CONFIG, 0), rf"{NO_MODEL}.*config\.json is not JSON"),
        (edit_config(lambda content: "{" * 9999), rf"{NO_MODEL}.*another program"),
        (edit_config(lambda content: [content]), rf"{NO_MODEL}.*another program"),
        (edit_config(lambda content: {"architectures": ["GPT2"]}), rf"{NO_MODEL}.*another program"),
        (
            edit_config(lambda content: content | {"format": 3, "tsar": "9.9"}),
            r"folder must hold a model of format 2; got format 3 .*written by tsar 9\.9\. Install",
        ),
        (edit_config(lambda content: content | {"format": 1}), "model of format 2; got format 1"),
        (set_value(["class"], "os.system"), r"must hold a model of one of .*; got 'os\.system'"),
        (set_value(["class"], "DLinear"), DAMAGED),
        (set_value(["params", "unknown"], 2), rf"{DAMAGED}.*unknown"),
        (set_value(["params", "columns"], {"Path": ["/"]}), rf"{DAMAGED}.*unknown type 'Path'"),
        (set_value(["params", "columns"], {"columns": {"unknown": 2}}), rf"{DAMAGED}.*unknown"),
        (set_value(["params", "columns"], {"a": 1, "b": 2}), DAMAGED),
        (set_value(["params", "training"], {"training": {"epochs": -1}}), rf"{DAMAGED}.*epochs"),
        (set_value(["fitted", "scale_"], {"tensor": "nowhere"}), rf"{DAMAGED}.*nowhere"),
        (set_value(["fitted", "scale_"], {"array": {"dtype": "O", "values": SCALE}}), DAMAGED),
        (set_value(["network"], {}), rf"{DAMAGED}.*[Mm]issing key"),
        (
            edit_config(lambda content: content.pop("network") and content),
            rf"{DAMAGED}.*lacks \['network'\]",
        ),
        (set_value(["tensors"], []), rf"{DAMAGED}.*lacks \['tensors'\]"),
        (set_value(["class"], ["Naive"]), rf"{DAMAGED}.*lacks \['class'\]"),
        (delete(TENSORS), rf"{DAMAGED}.*model\.safetensors"),
        (truncate(TENSORS, 0.5), DAMAGED),
        (truncate(TENSORS, 0), DAMAGED),
        (edit_tensors(rename_weights), rf"{DAMAGED}.*tensor 'module_\.linear\.wait' is \["),
        (
            edit_tensors(lambda tensors: {name: t.unsqueeze(0) for name, t in tensors.items()}),
            rf"{DAMAGED}.*tensor .* is \['\w+', \[1, .*\]\], not \['\w+', \[",
        ),
        (
            edit_tensors(lambda tensors: {n: t.half() for n, t in tensors.items()}),
            rf"{DAMAGED}.*float16",
        ),
    ),
)
def test_damaged_folders_are_refused_with_the_reason(
    damage: Callable[[Path], None], message: str, network: NLinear, tmp_path: Path
) -> None:
    network.save(tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)) as caught:
        load(tmp_path / "model")
    assert str(tmp_path / "model") in str(caught.value)


def test_too_deeply_nested_json_is_no_model(tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"config\.json is not JSON"):
        load(tmp_path)


GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("v*_*")))
def test_golden_models_load_and_forecast_as_when_they_were_saved(name: str) -> None:
    expected = json.loads((GOLDEN / "forecasts.json").read_text())[name]
    model = load(GOLDEN / name)
    forecast = np.asarray(model.predict(level=50), dtype=float)
    np.testing.assert_allclose(forecast, expected, rtol=1e-6, atol=1e-6)


def test_golden_models_can_be_saved_again(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "v2_NLinear", tmp_path / "model")
    model = load(tmp_path / "model")
    model.save(tmp_path / "model")
    assert np.array_equal(load(tmp_path / "model").predict(), model.predict())
    assert isinstance(load(GOLDEN / "v2_SeasonalNaive"), SeasonalNaive)


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "model"
    with pytest.raises(OSError, match=f"folder must be one that can be written; got '{folder}'"):
        Naive().fit([1.0, 2.0]).save(folder)
