"""Time of expectation-maximization (EM) for Gaussian HMMs: tsar against hmmlearn."""

import argparse
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from hmmlearn.hmm import GaussianHMM as Peer
from measure import (
    Candidate,
    argument_parser,
    interleaved,
    print_record,
    print_table,
    ratios,
    set_threads,
    summarize,
    timed,
)

from tsar.hmm.discrete.compiled import installed
from tsar.hmm.discrete.fitting import EMOptions, fit, fit_restarts, predictive_log_density
from tsar.hmm.discrete.gaussian_emissions import DiagonalGaussian
from tsar.hmm.discrete.inference import sample_states
from tsar.hmm.discrete.parameters import GaussianParameters
from tsar.hmm.discrete.sequence_groups import SequenceGroups
from tsar.hmm.observations import Observations

EM_STEPS = 10  # on one series, from the same initial parameters
EMISSION = DiagonalGaussian(covars_prior=1e-2, min_covar=1e-3)  # hmmlearn's prior
MODES, ENGINES = ("scaling", "log"), ("compiled", "tensors")


def main() -> None:
    """Time EM on one long series, then on many short ones with restarts and numbers of states."""
    logging.getLogger("hmmlearn").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    parser = argument_parser(__doc__)
    parser.set_defaults(rounds=3)
    args = parser.parse_args()
    set_threads(args.threads)
    shapes = ((3, 500),) if args.quick else ((4, 50_000), (16, 20_000), (64, 5_000))
    single = [one_series(k, time, kind, args) for kind in ("all", "cyclic") for k, time in shapes]
    print_table([_single_row(result) for result in single])
    batch = many_series(args)
    print_table([_batch_row(row) for row in (*batch["by_states"], batch["all"])])
    print_record("hmm_speed", args, {"single": single, "batch": batch})


def one_series(states: int, time: int, kind: str, args: argparse.Namespace) -> dict[str, Any]:
    """Time an EM step on one series, with the same initial parameters and number of steps.

    Transitions of kind "all" reach every state; cyclic ones the same state and the next.
    """
    points, means = regimes(1, states, time, args.seed, kind)
    start = GaussianParameters(
        torch.full((1, states), 1 / states, dtype=torch.float64),
        transitions(states, 0.5, kind)[None],
        means[:, :, None] + 0.1,
        torch.ones(1, states, 1, dtype=torch.float64),
    )
    data = grouped(points)
    candidates = {mode: Candidate(lambda m=mode: fit_hmmlearn(m, points, start)) for mode in MODES}
    engines = ENGINES if installed() else ENGINES[1:]
    candidates |= {
        engine: Candidate(lambda e=engine: fit_tsar(e, data, start)) for engine in engines
    }
    for candidate in candidates.values():
        candidate.call()  # warm-up and compilation
    seconds, results = interleaved(candidates, args.rounds)
    scores = {
        name: float(predictive_log_density(EMISSION, data, results[name]).sum())
        for name in candidates
    }
    return {
        "states": states,
        "points": time,
        "transitions": kind,
        "milliseconds_per_step": {
            name: summarize([1e3 * time / EM_STEPS for time in times])
            for name, times in seconds.items()
        },
        "speedup": {
            engine: {mode: ratios(seconds[mode], seconds[engine]) for mode in MODES}
            for engine in engines
        },
        "log_likelihood": scores,
        "max_difference": max(scores.values()) - min(scores.values()),
    }


def fit_hmmlearn(mode: str, points: torch.Tensor, start: GaussianParameters) -> GaussianParameters:
    """Fit by hmmlearn from given initial parameters."""
    model = Peer(
        start.startprob.shape[1],
        implementation=mode,
        init_params="",
        n_iter=EM_STEPS,
        tol=-np.inf,
        covars_prior=1e-2,
    )
    model.startprob_, model.transmat_ = start.startprob[0].numpy(), start.transmat[0].numpy()
    model.means_, model.covars_ = start.means[0].numpy(), start.covars[0].numpy()
    model.fit(points[0].numpy()[:, None])
    arrays = model.startprob_, model.transmat_, model.means_, model._covars_
    return GaussianParameters(*(torch.from_numpy(np.asarray(array))[None] for array in arrays))


def fit_tsar(engine: str, data: SequenceGroups, start: GaussianParameters) -> GaussianParameters:
    """Fit by tsar from given initial parameters."""
    with recursions_by(engine):
        options = EMOptions(n_iter=EM_STEPS, tol=-np.inf)
        return fit(EMISSION, data, start, torch.tensor([0]), options).parameters


@contextmanager
def recursions_by(engine: str) -> Iterator[None]:
    """Run the forward-backward recursions by the compiled loop or by tensor operations."""
    if engine == "compiled":
        yield
        return
    with patch("tsar.hmm.discrete.compiled.supports", lambda _: False):
        yield


def many_series(args: argparse.Namespace) -> dict[str, Any]:
    """Time all restarts of all series and numbers of states, each fit until it converges.

    hmmlearn fits a sample of the series; its seconds are scaled to the number of all series.
    """
    series, restarts, time, sample = (6, 2, 80, 2) if args.quick else (100, 10, 500, 4)
    candidates = (2, 3) if args.quick else range(2, 9)
    points, _ = regimes(series, 4, time, args.seed)
    data = grouped(points)
    options = EMOptions(n_iter=100, tol=1e-2)
    fit_restarts(EMISSION, grouped(points[:2]), 2, 1, options, args.seed)  # compilation
    rows = []
    for states in candidates:
        tsar_seconds, fitted = timed(
            lambda k=states: fit_restarts(EMISSION, data, k, restarts, options, args.seed)
        )
        sample_seconds, scores = timed(
            lambda k=states: fit_hmmlearn_restarts(points[:sample], k, restarts)
        )
        best = fitted.result.objective - EMISSION.log_prior(fitted.result.parameters)
        best_by_series = best.view(series, restarts).amax(1)[:sample]
        rows.append(
            {
                "states": states,
                "tsar_seconds": tsar_seconds,
                "hmmlearn_seconds": sample_seconds * series / sample,
                "speedup": sample_seconds * series / sample / tsar_seconds,
                "tsar_mean_best_log_likelihood": float(best_by_series.mean()),
                "hmmlearn_mean_best_log_likelihood": float(scores.max(axis=1).mean()),
            }
        )
    total = {key: sum(row[key] for row in rows) for key in ("tsar_seconds", "hmmlearn_seconds")}
    total["speedup"] = total["hmmlearn_seconds"] / total["tsar_seconds"]
    sizes = {"series": series, "restarts": restarts, "points": time, "hmmlearn_series": sample}
    return {**sizes, "by_states": rows, "all": {"states": "all", **total}}


def fit_hmmlearn_restarts(points: torch.Tensor, states: int, restarts: int) -> np.ndarray:
    """Fit by hmmlearn, one series and restart at a time: log likelihoods (series, restart)."""
    scores = np.empty((len(points), restarts))
    for row, series in enumerate(points.numpy()):
        for restart in range(restarts):
            model = Peer(states, n_iter=100, tol=1e-2, random_state=restart)
            scores[row, restart] = model.fit(series[:, None]).score(series[:, None])
    return scores


def transitions(states: int, move: float, kind: str) -> torch.Tensor:
    """Transition matrix: with probability `move` to any state, or to the next of a cycle."""
    stay = torch.eye(states, dtype=torch.float64)
    reached = torch.full_like(stay, 1 / states) if kind == "all" else stay.roll(1, 1)
    return move * reached + (1 - move) * stay


def regimes(
    series: int, states: int, time: int, seed: int, kind: str = "all"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Simulate standardized series that switch between levels; return them and their levels."""
    generator = torch.Generator().manual_seed(seed)
    move = transitions(states, 0.2, kind).expand(series, -1, -1)
    first = torch.full((series, states), 1 / states, dtype=torch.float64)
    path = sample_states(first, move, time, generator)
    level = 3 * torch.randn(series, states, generator=generator, dtype=torch.float64)
    noise = torch.randn(series, time, generator=generator, dtype=torch.float64)
    points = level.gather(1, path) + noise
    mean, deviation = points.mean(1, keepdim=True), points.std(1, keepdim=True)
    return (points - mean) / deviation, (level - mean) / deviation


def grouped(points: torch.Tensor) -> SequenceGroups:
    """Return the series (series, time) as sequence groups, one for each."""
    series, time = points.shape
    offsets = torch.arange(series + 1) * time
    return SequenceGroups(Observations(points.reshape(-1, 1), offsets), torch.arange(series))


def _single_row(result: dict[str, Any]) -> dict[str, Any]:
    cells = {key: result[key] for key in ("states", "points", "transitions")}
    for name, milliseconds in result["milliseconds_per_step"].items():
        cells[f"{name} ms"] = f"{milliseconds['median']:.1f}"
    for engine, speedups in result["speedup"].items():
        for mode, found in speedups.items():
            cells[f"{engine} / {mode}"] = f"{found['median']:.1f}"
    return cells


def _batch_row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "states": row["states"],
        "tsar s": f"{row['tsar_seconds']:.1f}",
        "hmmlearn s": f"{row['hmmlearn_seconds']:.1f}",
        "speedup": f"{row['speedup']:.1f}",
    }


if __name__ == "__main__":
    main()
