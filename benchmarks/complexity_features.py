"""Risk against size for several kinds of frozen features of ETTh1."""

import argparse
from typing import Any

from measure import argument_parser, print_record, print_table, set_threads, timed

from tsar import AutoTimes, ComplexityAnalysis, SpaceTime
from tsar.datasets import load
from tsar.training import Training

# Long enough for the input embedding to adapt; the features are what is analysed.
SHORT_TRAINING = Training(epochs=2, epoch_windows=1024, batch_size=64)
N_TRAIN = 500


def main() -> None:
    """Analyse every representation of the oil temperature, for the values of the next day."""
    parser = argument_parser(__doc__)
    parser.add_argument("--backbones", nargs="*", default=["smollm2", "random"])
    args = parser.parse_args()
    set_threads(args.threads)
    series = load("ETTh1")[["OT"]].iloc[:14_400]
    if args.quick:
        series = series.iloc[:1500]
    rows: list[dict[str, Any]] = []
    curves: dict[str, Any] = {}
    for name, representation in representations(series, args).items():
        analysis = ComplexityAnalysis(
            representation,
            task="next_segment",
            horizon=24,
            n_train=60 if args.quick else N_TRAIN,
            n_bootstrap=20 if args.quick else 100,
            random_state=args.seed,
            device="cpu",
        )
        seconds, fitted = timed(lambda a=analysis: a.fit(series))
        rows.append(row(name, fitted, seconds))
        curves[name] = fitted.curves_[["size", "head", "test", "excess"]].to_dict("list")
        if args.output and name.startswith("SmolLM2"):
            fitted.plot().savefig(args.output / "complexity_features.png")
        print_table(rows)
    print_record("complexity_features", args, {"rows": rows, "curves": curves})


def representations(series: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Representations by name; networks are fitted to the training period of the analysis."""
    training = series.iloc[: int(len(series) * 0.6)]
    common: dict[str, Any] = {"device": "cpu", "random_state": args.seed, "horizon": 24}
    representations: dict[str, Any] = {
        "random functions of a day": "random",
        "lags": "lags",
        "Gaussian HMM, states": "hmm",
        "linear-Gaussian, states": "linear_gaussian",
    }
    spacetime = SpaceTime(168, training=SHORT_TRAINING, **common)
    representations["SpaceTime, hidden"] = spacetime.fit(training)
    blocks = {"depth": 1 if args.quick else 6}
    names = {"smollm2": "SmolLM2, 6 blocks, frozen", "random": "the same, random weights"}
    for backbone in args.backbones:
        kind = {"backbone": "smollm2", **blocks}
        if backbone == "random":
            kind["backbone_init"] = "random"
        model = AutoTimes(336, segment_length=24, training=SHORT_TRAINING, **kind, **common)
        representations[names[backbone]] = model.fit(training)
    return representations


def row(name: str, analysis: ComplexityAnalysis, seconds: float) -> dict[str, Any]:
    """Row of the table for one representation."""
    advice, table = analysis.recommend(), analysis.curves_
    ridgeless = table[table["head"] == "ridgeless"]
    return {
        "features": name,
        "recommended": advice.size,
        "test risk": round(advice.test_risk, 4),
        "std err": round(advice.test_std_err, 4),
        "peak risk": round(float(ridgeless["test"].max()), 2),
        "max size": int(ridgeless["size"].max()),
        "its risk": round(float(ridgeless["test"].iloc[-1]), 4),
        "ridge size": advice.ridge_size,
        "ridge risk": round(advice.ridge_test_risk, 4),
        "null risk": round(advice.null_risk, 4),
        "seconds": round(seconds, 1),
    }


if __name__ == "__main__":
    main()
