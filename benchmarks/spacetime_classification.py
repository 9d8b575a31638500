"""SpaceTimeClassifier, ROCKET and 1-NN with dynamic time warping on ECG200 and ECG5000."""

import argparse
import gzip
import importlib.util
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import argument_parser, print_record, print_table, set_threads, summarize
from sklearn.metrics import accuracy_score, roc_auc_score

from tsar import SpaceTimeClassifier, Training

SETS = ("ECG200", "ECG5000")  # UCR archive (Dau et al. 2019), its own split


def main() -> None:
    """Fit each classifier on the training part and score it on the test part."""
    parser = argument_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    set_threads(args.threads)
    rows = [row for name in SETS for row in score(name, args)]
    print_table(rows)
    print_record("spacetime_classification", args, {"seeds": args.seeds, "rows": rows})


def read(name: str, part: str) -> tuple[Any, Any]:
    """Return the sequences and classes of a part, from the folder that TSAR_DATA names."""
    path = Path(os.environ["TSAR_DATA"], "ucr", f"{name}_{part}.tsv.gz")
    with gzip.open(path, "rt", encoding="ascii") as lines:
        table = np.loadtxt(lines, delimiter="\t")
    return table[:, 1:], table[:, 0].astype(int)


def score(name: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each classifier."""
    train, test = read(name, "TRAIN"), read(name, "TEST")
    if args.quick:
        test = test[0][:50], test[1][:50]
    seeds = range(args.seed, args.seed + args.seeds)
    makers = {"SpaceTimeClassifier": lambda seed: spacetime(seed, args.quick)}
    makers |= aeon_classifiers(args.threads)
    rows = []
    for method, make in makers.items():
        scores = [
            fit_and_score(make(seed), train, test)
            for seed in (seeds if method != "1-NN, DTW" else seeds[:1])
        ]
        accuracy, area, seconds = zip(*scores, strict=True)
        rows.append(
            {
                "data": name,
                "method": method,
                "accuracy": float(np.mean(accuracy)),
                "accuracy range": [min(accuracy), max(accuracy)],
                "AUROC": float(np.mean(area)),
                "seconds": summarize(seconds)["median"],
            }
        )
    return rows


def spacetime(seed: int, quick: bool) -> SpaceTimeClassifier:
    """Return SpaceTimeClassifier with its defaults: nothing was tuned."""
    training = Training(epochs=1) if quick else None
    return SpaceTimeClassifier(training=training, random_state=seed, device="cpu")


def aeon_classifiers(threads: int) -> dict[str, Any]:
    """Return constructors of aeon's classifiers by name, where aeon is installed."""
    if not importlib.util.find_spec("aeon"):
        return {}
    from aeon.classification.convolution_based import RocketClassifier
    from aeon.classification.distance_based import KNeighborsTimeSeriesClassifier

    return {
        "ROCKET (aeon)": lambda seed: RocketClassifier(random_state=seed, n_jobs=threads),
        "1-NN, DTW": lambda seed: KNeighborsTimeSeriesClassifier(
            distance="dtw", n_neighbors=1, n_jobs=threads
        ),
    }


def fit_and_score(
    model: Any, train: tuple[Any, Any], test: tuple[Any, Any]
) -> tuple[float, float, float]:
    """Return the accuracy, the AUROC (macro average, one-vs-rest) and the seconds."""
    start = time.perf_counter()
    model.fit(*train)
    probabilities = model.predict_proba(test[0])
    seconds = time.perf_counter() - start
    classes = np.asarray(model.classes_)
    accuracy = accuracy_score(test[1], classes[probabilities.argmax(axis=1)])
    areas = [
        roc_auc_score(test[1] == name, probabilities[:, k])
        for k, name in enumerate(classes)
        if 0 < (test[1] == name).sum() < len(test[1])
    ]
    return float(accuracy), float(np.mean(areas)), seconds


if __name__ == "__main__":
    main()
