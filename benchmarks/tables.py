"""Write the tables of RESULTS.md from the JSON files in results/: python benchmarks/tables.py.

It replaces the lines between ``<!-- table NAME -->`` and ``<!-- end -->``; the text around the
tables is written by hand.
"""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from measure import RESULTS

PEERS = ("LSTM", "Transformer", "LSTM, teacher forcing")  # in the table of SpaceTime's epoch

Row = dict[str, Any]
Record = dict[str, Any]


def main() -> None:
    """Replace every table that has a results file."""
    path = RESULTS.parent / "RESULTS.md"
    text = path.read_text(encoding="utf-8")
    for name, make in TABLES.items():
        source = RESULTS / f"{name.partition(':')[0]}.json"
        if not source.exists():
            continue
        rows = make(json.loads(source.read_text(encoding="utf-8")))
        lines = ["| " + " | ".join(cells) + " |" for cells in _cells(rows)]
        pattern = rf"(<!-- table {re.escape(name)} -->\n).*?(<!-- end -->)"
        table = "\n".join(lines) + "\n"
        text = re.sub(pattern, lambda m, t=table: m[1] + t + m[2], text, flags=re.DOTALL)
    path.write_text(text, encoding="utf-8")


def _cells(rows: list[Row]) -> list[list[str]]:
    head = list(rows[0])
    return [head, ["---"] * len(head), *[[str(row[key]) for key in head] for row in rows]]


def number(value: float | None, digits: int = 3) -> str:
    """Format to significant digits, thousands with commas; None is empty."""
    if value is None:
        return ""
    text = f"{value:.{digits}g}"
    if abs(value) >= 1000:
        return f"{float(text):,.0f}"
    return text if "e" not in text else f"{float(text):g}"


def span(summary: Row, digits: int = 3) -> str:
    """Median (minimum to maximum) of the rounds."""
    minimum, maximum = (number(summary[key], digits) for key in ("min", "max"))
    return f"{number(summary['median'], digits)} ({minimum} to {maximum})"


def error(row: Row, key: str = "mse") -> str:
    """Mean of the seeds ± their standard deviation."""
    deviation = row.get(f"{key} deviation")
    return f"{row[key]:.4f}" + (f" ± {deviation:.4f}" if deviation is not None else "")


def ar_speed(record: Record) -> list[Row]:
    """Long autoregressions against AutoReg."""
    return [
        {
            "order": r["order"],
            "AutoReg": f"{number(r['seconds']['statsmodels']['median'])} s",
            "estimator": f"{number(1e3 * r['seconds']['estimator']['median'])} ms",
            "kernel": f"{number(1e3 * r['seconds']['kernel']['median'])} ms",
            "estimator speedup": span(r["estimator_speedup"]),
            "kernel speedup": span(r["kernel_speedup"]),
            "max coefficient difference": f"{r['max_difference']['coefficient']:.1e}",
        }
        for r in record["results"]
    ]


def arnet_paper(record: Record) -> list[Row]:
    """The paper's sparse AR(3) by order."""
    columns = {
        "tsar s": "tsar seconds",
        "tsar sTPE": "tsar stpe",
        "all lags sTPE": "all lags stpe",
        "recipe s": "adam seconds",
        "recipe s, no DataLoader": "adam by index seconds",
        "recipe sTPE": "adam by index stpe",
        "paper s": "paper seconds",
        "paper sTPE": "paper stpe",
    }
    return [
        {"p": r["order"]} | {name: number(r[key]) for name, key in columns.items()}
        for r in record["rows"]
    ]


def many_series(record: Record) -> list[Row]:
    """Ten thousand series."""
    return [
        {
            "method": r["method"],
            "series": f"{r['series']:,}",
            "series per second": number(r["series per second"]["median"], 4),
            "speedup of tsar (long frame)": span(r["tsar speedup"]),
        }
        for r in record["rows"]
    ]


def training_speed(record: Record) -> list[Row]:
    """Windows per second of training loops."""
    return [
        {
            "batch": r["batch"],
            "method": r["method"],
            "windows per second": number(r["windows per second"]["median"], 4),
            "speedup of tsar": span(r["tsar speedup"]),
        }
        for result in record["results"]
        for r in result["rows"]
    ]


def ltsf(record: Record) -> list[Row]:
    """Long horizons and the published errors."""
    return [
        {
            "data": r["dataset"],
            "horizon": r["horizon"],
            "model": r["model"],
            "MSE": error(r),
            "MAE": f"{r['mae']:.4f}",
            "published MSE": number(r["published mse"]),
            "fit s": f"{r['fit seconds']:.2f}",
            "windows": r["windows"],
        }
        for r in record["rows"]
    ]


def memory(record: Record) -> list[Row]:
    """Peak memory of a fit."""
    return [
        {
            "method": r["method"],
            "points": f"{r['points']:,}",
            "order": r["order"],
            "peak memory / data": f"{r['peak memory / data']['median']:.1f}",
        }
        for r in record["rows"]
    ]


def spacetime_ltsf(record: Record) -> list[Row]:
    """SpaceTime on long horizons: a row per horizon, a column per model."""
    models = list(dict.fromkeys(r["model"] for r in record["rows"]))
    table: dict[int, Row] = {}
    for r in record["rows"]:
        row = table.setdefault(r["horizon"], {"horizon": r["horizon"]} | dict.fromkeys(models, ""))
        row[r["model"]] = f"{error(r)} / {r['mae']:.4f}"
        if r["paper mse, unverified"] is not None:
            row["MSE of the paper, unverified"] = number(r["paper mse, unverified"])
        if r["model"] == "SpaceTime":
            row["fit s"] = number(r["fit seconds"])
    return list(table.values())


def spacetime_beyond(record: Record) -> list[Row]:
    """Horizons beyond those that were trained."""
    models = list(dict.fromkeys(r["model"] for r in record["rows"]))
    horizons = sorted({r["horizon"] for r in record["rows"]})
    errors = {(r["horizon"], r["model"]): error(r) for r in record["rows"]}
    return [{"horizon": h} | {m: errors[h, m] for m in models} for h in horizons]


def spacetime_step(record: Record) -> list[Row]:
    """A training step against the released code."""
    return [
        {
            "method": r["method"],
            "seconds per step": span(r["seconds per step"]),
            "speedup": span(r["speedup"]),
            "memory": f"{number(r['memory mb'])} MB",
            "memory ratio": f"{r['memory ratio']:.3f}",
        }
        for r in record["step"]
    ]


def spacetime_epoch(record: Record) -> list[Row]:
    """An epoch of SpaceTime, an LSTM and a Transformer."""
    return [
        {
            "model": r["model"],
            "parameters": f"{r['parameters']:,}",
            "seconds per epoch": span(r["seconds per epoch"]),
            **{f"time saved, {peer}": time_saved(r, peer) for peer in PEERS},
        }
        for r in record["epoch"]
    ]


def time_saved(row: Row, peer: str) -> str:
    """Share of a peer's time that is saved."""
    share = row["time saved"].get(peer)
    return "" if share is None else f"{100 * share['median']:.0f} %"


def spacetime_classification(record: Record) -> list[Row]:
    """Classes of heartbeats."""
    return [
        {
            "data": r["data"],
            "method": r["method"],
            "accuracy": f"{r['accuracy']:.3f} ({r['accuracy range'][0]:.3f}"
            f" to {r['accuracy range'][1]:.3f})",
            "AUROC": f"{r['AUROC']:.3f}",
            "seconds": number(r["seconds"]),
        }
        for r in record["rows"]
    ]


def spacetime_expressivity(record: Record) -> list[Row]:
    """Autoregressions without noise."""
    return [
        {
            "process": r["process"],
            "method": r["method"],
            "parameters": r["parameters"],
            "MSE, 32 steps": number(r["mse_32"]["median"], 2),
            "MSE, 320 steps": span(r["mse_320"], 2),
            "seconds": number(r["seconds"]["median"], 2),
        }
        for r in record["rows"]
    ]


def autotimes(record: Record, part: str, seconds: str) -> list[Row]:
    """Steps or tests of AutoTimes and of the paper's procedure."""
    return [
        {
            "depth": r["depth"],
            "method": r["method"],
            seconds: span(r["seconds"]),
            "speedup": span(r["speedup"]),
            "tokens": f"{r['tokens']:,}",
            "tokens per second": number(r["tokens per second"]["median"]),
            "GFLOP/s": number(r["gigaflops"]["median"]),
            "share of peak": f"{100 * r['share of the peak']['median']:.0f} %",
        }
        for r in record[part]
    ]


def autotimes_step(record: Record) -> list[Row]:
    """A training step of AutoTimes."""
    return autotimes(record, "step", "seconds per step")


def autotimes_evaluation(record: Record) -> list[Row]:
    """A test of AutoTimes at four horizons."""
    return autotimes(record, "evaluation", "seconds")


def autotimes_memory(record: Record) -> list[Row]:
    """A step of AutoTimes with and without gradient checkpointing."""
    return [
        {
            "depth": r["depth"],
            "method": r["method"],
            "seconds per step": span(r["seconds per step"]),
            "memory": f"{r['memory mb']:.0f} MB",
        }
        for r in record["rows"]
    ]


def autotimes_ltsf(record: Record) -> list[Row]:
    """AutoTimes by the published protocol: one model for all horizons."""
    return [
        {
            "model": r["model"],
            **horizons(r),
            "mean MSE": error(r),
            "mean MAE": "" if r["mae"] is None else f"{r['mae']:.4f}",
            "seeds": r["seeds"] or "",
            "fit s": number(r["fit seconds"]),
        }
        for r in record["rows"]
    ]


def llm_controls(record: Record) -> list[Row]:
    """AutoTimes with and without its language model, tuned in the same way."""
    return [
        {
            "training rows": f"{100 * r['share']:.0f} %",
            "model": r["model"],
            "trained weights": f"{r['trained weights']:,}",
            "learning rate": rates(r["learning rate"]),
            **horizons(r),
            "mean MSE": error(r),
            "mean MAE": f"{r['mae']:.4f}",
            "shuffled, times the MSE": number(r["shuffled"]),
            "tuning s": number(r["seconds"]),
        }
        for r in record["rows"]
    ]


def autotimes_training(record: Record) -> list[Row]:
    """Changes to the training of AutoTimes."""
    return [
        {
            "choice": r["choice"],
            "validation MSE": f"{r['validation']:.4f}",
            "best epoch": r["best epoch"],
            "fit s": number(r["seconds"]),
        }
        for r in record["rows"]
    ]


def autotimes_speculation(record: Record) -> list[Row]:
    """Speculation against the cached forecast."""
    return [
        {
            "method": r["method"],
            "proposals accepted": "" if r["accepted"] is None else f"{100 * r['accepted']:.0f} %",
            "speedup": span(r["speedup"]),
            "MSE": f"{r['mse']:.4f}",
            "RMS from cached": number(r["rms from cached"]),
        }
        for r in record["rows"]
    ]


def rates(chosen: float | list[float]) -> str:
    """The learning rates selected for the seeds."""
    return ", ".join(number(rate) for rate in (chosen if isinstance(chosen, list) else [chosen]))


def horizons(row: Row) -> Row:
    """The mean squared error at each horizon."""
    errors = {key.removeprefix("mse "): value for key, value in row.items() if key[:4] == "mse "}
    return {key: f"{value:.4f}" for key, value in errors.items() if key.isdigit()}


def zero_shot(record: Record, data: str) -> list[Row]:
    """In-context forecasts of a data set: a row per prompt, a column per fitted model."""
    table: dict[tuple[str, int], Row] = {}
    for r in record["rows"]:
        if r["data"] == data and r["difference from contiguous"] is not None:
            empty = {"prompt": r["prompt"], "points read": r["points"]}
            row = table.setdefault((r["prompt"], r["points"]), empty)
            row[f"{r['model']}, fitted on {r['fitted on']}"] = against(r)
    return list(table.values())


def against(row: Row) -> str:
    """sMAPE, and its difference to that with a contiguous context of the same length."""
    smape = f"{row['smape']:.2f}"
    if not row["standard error"]:
        return smape
    return f"{smape} ({row['difference from contiguous']:+.2f} ± {row['standard error']:.2f})"


def zero_shot_rest(record: Record) -> list[Row]:
    """Without prompts: naive forecasts, ARNet, and AutoTimes with its longest context."""
    return [
        {
            "data": r["data"],
            "model": r["model"],
            "fitted on": r["fitted on"],
            "points read": r["points"],
            "sMAPE": f"{r['smape']:.2f}",
            "± of seeds": "" if r["smape deviation"] is None else f"{r['smape deviation']:.2f}",
            "MASE": f"{r['mase']:.3f}",
            "sMAPE of all series": (
                "" if r["smape of all series"] is None else f"{r['smape of all series']:.2f}"
            ),
            "fit s": number(r["fit seconds"]),
        }
        for r in record["rows"]
        if r["prompt"] == "none" and r["difference from contiguous"] in (None, 0)
    ]


def hmm_single(record: Record) -> list[Row]:
    """A step of EM on one series."""
    rows = []
    for r in record["single"]:
        milliseconds = {name: times["median"] for name, times in r["milliseconds_per_step"].items()}
        speedup = r["speedup"]
        rows.append(
            {
                "states": r["states"],
                "points": f"{r['points']:,}",
                "transitions": r["transitions"],
                "hmmlearn, scaling": f"{number(milliseconds['scaling'])} ms",
                "hmmlearn, its default": f"{number(milliseconds['log'])} ms",
                "tsar, compiled": f"{number(milliseconds['compiled'])} ms",
                "tsar, tensors": f"{number(milliseconds['tensors'])} ms",
                "speedup of compiled over scaling": span(speedup["compiled"]["scaling"]),
                "over the default": span(speedup["compiled"]["log"]),
                "max log-likelihood difference": f"{r['max_difference']:.0e}",
            }
        )
    return rows


def hmm_batch(record: Record) -> list[Row]:
    """All restarts of all series."""
    batch = record["batch"]
    return [
        {
            "states": r["states"],
            "tsar s": number(r["tsar_seconds"]),
            "hmmlearn s": number(r["hmmlearn_seconds"]),
            "speedup": number(r["speedup"]),
            "best log likelihood, tsar": number(r.get("tsar_mean_best_log_likelihood"), 4),
            "hmmlearn": number(r.get("hmmlearn_mean_best_log_likelihood"), 4),
        }
        for r in (*batch["by_states"], batch["all"])
    ]


def complexity_simulation(record: Record) -> list[Row]:
    """Theory and simulation of one trajectory, selected sizes."""
    curves = record["general, one trajectory"]["curves"]
    return [
        {
            "size": size,
            "excess, theory": number(curves["theory_excess"][k]),
            "excess, simulated": number(curves["excess"][k]),
            "standard error": number(curves["excess_std_err"][k]),
            "bias": number(curves["bias"][k] if curves["bias"][k] > 1e-9 else 0.0),
            "variance": number(curves["variance"][k]),
            "irreducible": number(curves["irreducible"][k]),
            "total": number(curves["total"][k]),
            "excess, optimal ridge": number(curves["ridge_excess"][k]),
            "excess, tuned ridge": number(curves["ridge_tuned"][k]),
        }
        for k, size in enumerate(curves["size"])
        if size in (5, 10, 20, 40, 80, 120, 160, 190, 210, 240, 300, 500, 1000, 2000)
    ]


def complexity_difference(record: Record) -> list[Row]:
    """Relative differences of theory and simulation."""
    return [
        {
            "weights, data": name,
            "at the smallest size": f"{100 * curve['first_difference']:.1f} %",
            "largest other": f"{100 * curve['max_difference']:.1f} %",
            "at size": curve["max_difference_size"],
            "its standard error": f"{100 * curve['max_difference_std_err']:.1f} %",
            "median other": f"{100 * curve['median_difference']:.1f} %",
        }
        for name, curve in record.items()
        if isinstance(curve, dict) and "first_difference" in curve
    ]


def complexity_symbols(record: Record) -> list[Row]:
    """Head tuning against the number of states."""
    table = record["symbols"]["table"]
    return [
        {
            "states": states,
            "rank": number(table["rank"][k]),
            "accuracy of the head": f"{table['accuracy'][k]:.3f} ± {table['std_err'][k]:.3f}",
            "head on the states": f"{table['accuracy_of_states'][k]:.3f}",
            "majority class": f"{table['majority'][k]:.3f}",
        }
        for k, states in enumerate(table["states"])
    ]


def forecasts(record: Record) -> list[Row]:
    """Errors of forecasts, coverage of intervals, and time."""
    return [
        {
            "data": r["data"],
            "model": r["model"],
            "series": f"{r['series']:,}",
            **({"windows": r["windows"]} if "windows" in r else {}),
            "sMAPE": f"{100 * r['smape']:.2f}",
            "MASE": f"{r['mase']:.3f}",
            f"coverage of {record['level']} %": f"{100 * r['coverage']:.1f} %",
            "s": number(r["seconds"]),
        }
        for r in record["rows"]
    ]


def arnet_panels(record: Record) -> list[Row]:
    """Errors of all models for each panel, and the coverage of ARNet's intervals by thirds."""
    by_panel: dict[str, dict[str, Row]] = {}
    for r in record["rows"]:
        by_panel.setdefault(r["panel"], {})[r["model"]] = r
    others = ("ARNet, one equation", "SeasonalNaive", "DOT", "median of DOT, ETS, CES")
    rows = []
    for panel, models in by_panel.items():
        ours = models["ARNet"]
        row: Row = {"panel": panel, "series": f"{ours['series']:,} of {ours['all series']:,}"}
        row["ARNet"] = number(ours["mase"])
        row |= {name: number(models[name]["mase"]) if name in models else "" for name in others}
        row["all series"] = number(ours["mase of all series"])
        for level in (80, 95):
            thirds = ours[f"coverage {level}"]
            row[f"{level} % holds"] = " / ".join(f"{100 * third:.0f}" for third in thirds)
        rows.append(row)
    return rows


def arnet_panels_summary(record: Record) -> list[Row]:
    """Geometric means over panels of the errors relative to classical methods."""
    names = ("ARNet", "ARNet, one equation", "SeasonalNaive", "Naive", "ETS", "CES", "DOT")
    return [
        {"panels": f"{r['panels']} ({r['number']})", "relative to": r["to"]}
        | {name: number(r.get(name)) for name in names}
        for r in record["summary"]
    ]


def missing_values(record: Record) -> list[Row]:
    """Errors by pattern of gaps."""
    return [
        {name: number(v, 4) if name != "gaps" else v for name, v in r.items()}
        for r in record["rows"]
    ]


def missing_values_time(record: Record) -> list[Row]:
    """Time of a long series with gaps."""
    return [{name: number(v) for name, v in record["time"].items()}]


def as_printed(record: Record) -> list[Row]:
    """Rows of the script, unchanged."""
    return list(record["rows"])


TABLES: dict[str, Callable[[Record], list[Row]]] = {
    "ar_speed": ar_speed,
    "arnet_paper": arnet_paper,
    "arnet_forecasts": forecasts,
    "arnet_panels:panels": arnet_panels,
    "arnet_panels:summary": arnet_panels_summary,
    "many_series": many_series,
    "missing_values:errors": missing_values,
    "missing_values:time": missing_values_time,
    "training_speed": training_speed,
    "ltsf": ltsf,
    "memory": memory,
    "spacetime_speed:step": spacetime_step,
    "spacetime_speed:epoch": spacetime_epoch,
    "autotimes_speed:step": autotimes_step,
    "autotimes_speed:evaluation": autotimes_evaluation,
    "autotimes_memory": autotimes_memory,
    "autotimes_speed_2_blocks:step": autotimes_step,
    "autotimes_speed_2_blocks:evaluation": autotimes_evaluation,
    **{
        f"autotimes_ltsf_{name}": autotimes_ltsf
        for name in ("ETTh1", "ETTh1_blocks", "ETTm1", "weather")
    },
    **{f"llm_controls_{name}": llm_controls for name in ("ETTh1", "ETTm1", "weather")},
    "autotimes_training_ETTh1": autotimes_training,
    "autotimes_training_ETTh1_seeds": autotimes_training,
    "hmm_speed:single": hmm_single,
    "hmm_speed:batch": hmm_batch,
    "hmm_forecasts": forecasts,
    "complexity_simulation:curve": complexity_simulation,
    "complexity_simulation:difference": complexity_difference,
    "complexity_simulation:symbols": complexity_symbols,
    "complexity_advice": as_printed,
    "complexity_features": as_printed,
    "autotimes_speculation_ETTh1": autotimes_speculation,
    "autotimes_zero_shot:m3_monthly": partial(zero_shot, data="m3_monthly"),
    "autotimes_zero_shot:m4_hourly": partial(zero_shot, data="m4_hourly"),
    "autotimes_zero_shot:rest": zero_shot_rest,
    "spacetime_classification": spacetime_classification,
    "spacetime_expressivity": spacetime_expressivity,
    "spacetime_beyond_ETTh1_OT": spacetime_beyond,
    **{
        f"spacetime_ltsf_{name}": spacetime_ltsf
        for name in (
            "ETTh1_OT",
            "ETTm1_OT",
            "ETTh1_all",
            "ETTm1_all",
            "weather_all",
            "exchange_all",
        )
    },
}


if __name__ == "__main__":
    main()
