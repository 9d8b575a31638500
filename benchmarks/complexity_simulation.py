"""Theory of frozen features against simulation: double descent, ridge, and symbols of an HMM.

Linear-Gaussian states (d = 20), n = 200 rows and 5 to 2000 features: the exact excess risk of the
ridgeless head and of ridge heads with the optimal penalty of the theory and with that of
generalized cross-validation, for i.i.d. rows and for one trajectory. Then head tuning on the
symbols of a discrete model with 4 to 30 states and 10 symbols, as in Wei et al. 2021. The sizes of
the first part are ours: those of Luo et al. 2024 were not available.
"""

from typing import Any

import pandas as pd
import torch
from measure import argument_parser, print_record, print_table, set_threads, timed
from theory.simulation import Scheme, sample_model, simulate
from theory.symbols import tune_over_states

from tsar.complexity.plots import plot_risk

N_TRAIN, STATES = 200, 20
SIZES = (5, 7, 10, 14, 20, 28, 40, 57, 80, 120, 160, 180, 190, 210, 220, 240, 300, 400, 500, 700)
LARGE_SIZES = (1000, 1400, 2000)
SYMBOL_STATES = (4, 8, 10, 12, 15, 25, 30)
SYMBOL_MODELS = 20  # for each number of states


def main() -> None:
    """Simulate both schemes with both kinds of rows, and the symbols; print and plot."""
    parser = argument_parser(__doc__)
    parser.set_defaults(rounds=200)
    args = parser.parse_args()
    set_threads(args.threads)
    repetitions = 3 if args.quick else args.rounds
    sizes = SIZES[::4] if args.quick else SIZES + LARGE_SIZES
    record: dict[str, Any] = {"n_train": N_TRAIN, "states": STATES, "repetitions": repetitions}
    for scheme in ("general", "aligned"):
        for serial in (False, True):
            name = f"{scheme}, {'one trajectory' if serial else 'i.i.d. rows'}"
            seconds, table = timed(
                lambda s=scheme, one=serial: curves(s, one, sizes, repetitions, args.seed)
            )
            record[name] = {"seconds": seconds, **differences(table)}
            record[name]["curves"] = table.to_dict("list")
            print_table(printed_rows(name, table))
            if args.output:
                args.output.mkdir(parents=True, exist_ok=True)
                file = f"complexity_{scheme}_{'serial' if serial else 'iid'}.png"
                plot(table, name).savefig(args.output / file)
    generator = torch.Generator().manual_seed(args.seed)
    quick = {"train": 300, "test": 200, "length": 16} if args.quick else {}
    seconds, symbols = timed(
        lambda: tune_over_states(
            SYMBOL_STATES[::3] if args.quick else SYMBOL_STATES,
            repetitions=2 if args.quick else SYMBOL_MODELS,
            generator=generator,
            **quick,
        )
    )
    print_table(symbols.round(3).to_dict("records"))
    record["symbols"] = {"seconds": seconds, "table": symbols.to_dict("list")}
    print_record("complexity_simulation", args, record)


def curves(
    scheme: Scheme, serial: bool, sizes: tuple[int, ...], repetitions: int, seed: int
) -> pd.DataFrame:
    """Risks by size; aligned weights are sampled for each size, general ones for the largest."""
    generator = torch.Generator().manual_seed(seed)
    options: dict[str, Any] = {
        "n_rows": N_TRAIN,
        "repetitions": repetitions,
        "serial": serial,
        "ridge": True,
        "generator": generator,
    }
    if scheme == "general":
        model = sample_model(STATES, max(sizes), generator=generator)
        return simulate(model, sizes, **options)
    tables = [
        simulate(sample_model(STATES, size, scheme=scheme, generator=generator), (size,), **options)
        for size in sizes
        if size >= STATES
    ]
    return pd.concat(tables, ignore_index=True)


def differences(table: pd.DataFrame) -> dict[str, Any]:
    """Relative differences of simulated and theoretical excess risk."""
    difference = (table["excess"] / table["theory_excess"] - 1).abs()
    std_err = table["excess_std_err"] / table["theory_excess"]
    largest = difference.iloc[1:].idxmax()
    return {
        "first_difference": difference.iloc[0],
        "max_difference": difference[largest],
        "max_difference_size": int(table["size"][largest]),
        "max_difference_std_err": std_err[largest],
        "median_difference": difference.iloc[1:].median(),
    }


def printed_rows(name: str, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the printed table."""
    columns = ["size", "theory_excess", "excess", "bias", "variance", "irreducible", "total"]
    ridge = ["ridge_theory", "ridge_excess", "ridge_tuned"]
    return [{"data": name} | row for row in table[columns + ridge].round(3).to_dict("records")]


def plot(table: pd.DataFrame, name: str) -> Any:
    """Plot ridgeless and tuned ridge risk against size."""
    ridgeless = table.assign(head="ridgeless", test=table["total"])
    ridge = table[["size", "irreducible"]].assign(
        head="ridge", test=table["irreducible"] + table["ridge_tuned"]
    )
    return plot_risk(
        pd.concat([ridgeless, ridge], ignore_index=True),
        n_train=N_TRAIN,
        null_risk=float(table["null"].iloc[0]),
        bayes_risk=float(table["bayes"].iloc[0]),
        title=f"Simulation: {name}",
    )


if __name__ == "__main__":
    main()
