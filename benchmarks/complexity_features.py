"""Risk curves of frozen features on ETTh1: what each kind of them costs and buys by size."""

import argparse
from typing import Any

from measure import parser, report, set_threads, show, timed

from tsar import AutoTimes, ComplexityAnalysis, SpaceTime
from tsar.datasets import load
from tsar.training import Training

# Long enough for an embedding that reads the units; the features are what is looked at.
BRIEF = Training(epochs=2, epoch_windows=1024, batch_size=64)
ROWS = 500


def main() -> None:
    """Analyse the oil temperature by every representation, for the next day's values."""
    options = parser(__doc__)
    options.add_argument("--backbones", nargs="*", default=["smollm2", "random"])
    args = options.parse_args()
    set_threads(args.threads)
    series = load("ETTh1")[["OT"]].iloc[:14_400]
    if args.quick:
        series = series.iloc[:1500]
    rows: list[dict[str, Any]] = []
    drawn: dict[str, Any] = {}
    for name, representation in representations(series, args).items():
        analysis = ComplexityAnalysis(
            representation,
            task="next_segment",
            horizon=24,
            n_train=60 if args.quick else ROWS,
            n_bootstrap=20 if args.quick else 100,
            random_state=args.seed,
            device="cpu",
        )
        seconds, fitted = timed(lambda a=analysis: a.fit(series))
        rows.append(row(name, fitted, seconds))
        drawn[name] = fitted.curves_[["size", "head", "test", "excess"]].to_dict("list")
        if args.output and name.startswith("SmolLM2"):
            fitted.plot().savefig(args.output / "complexity_features.png")
        show(rows)
    report("complexity_features", args, {"rows": rows, "curves": drawn})


def representations(series: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Representations by name; networks are fitted to what is before the analysis' test rows."""
    known = series.iloc[: int(len(series) * 0.6)]
    common: dict[str, Any] = {"device": "cpu", "random_state": args.seed, "horizon": 24}
    found: dict[str, Any] = {
        "random functions of a day": "random",
        "lags": "lags",
        "Gaussian HMM, states": "hmm",
        "linear-Gaussian, states": "linear_gaussian",
    }
    space = SpaceTime(168, training=BRIEF, **common)
    found["SpaceTime, hidden"] = space.fit(known)
    blocks = {"layers": 1 if args.quick else 6}
    names = {"smollm2": "SmolLM2, 6 blocks, frozen", "random": "the same, random weights"}
    for backbone in args.backbones:
        kind = {"backbone": "smollm2", **blocks}
        if backbone == "random":
            kind["backbone_init"] = "random"
        model = AutoTimes(336, segment_length=24, training=BRIEF, **kind, **common)
        found[names[backbone]] = model.fit(known)
    return found


def row(name: str, analysis: ComplexityAnalysis, seconds: float) -> dict[str, Any]:
    """What the analysis says."""
    advice, table = analysis.recommend(), analysis.curves_
    plain = table[table["head"] == "ridgeless"]
    return {
        "features": name,
        "advised": advice.size,
        "test risk": round(advice.test, 4),
        "error": round(advice.test_error, 4),
        "peak": round(float(plain["test"].max()), 2),
        "largest": int(plain["size"].max()),
        "its risk": round(float(plain["test"].iloc[-1]), 4),
        "ridge": advice.ridge_size,
        "ridge risk": round(advice.ridge_test, 4),
        "mean": round(advice.null, 4),
        "s": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
