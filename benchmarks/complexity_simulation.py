"""Theory of frozen features beside simulation: double descent, ridge, and symbols of an HMM.

Linear-Gaussian states (d = 20) and n = 200 rows, features from 5 to 2000: the exact excess risk of
the ridgeless head, of the ridge head with the theory's best penalty, and with the penalty that
generalized cross-validation finds; rows apart from each other, and of one trajectory. Then head
tuning on the symbols of a discrete model of 4 to 30 states and 10 symbols, set up as in Wei et al.
2021. The first part is our protocol: the sizes of Luo et al. 2024 were not at hand.
"""

from typing import Any

import pandas as pd
import torch
from measure import parser, report, set_threads, show, timed
from theory.simulation import Scheme, draw_model, simulate
from theory.symbols import tune_over_states
from tsar.complexity.drawing import plot_risk

ROWS, STATES = 200, 20
SIZES = (5, 7, 10, 14, 20, 28, 40, 57, 80, 120, 160, 180, 190, 210, 220, 240, 300, 400, 500, 700)
LARGE = (1000, 1400, 2000)
COUNTS = (4, 8, 10, 12, 15, 25, 30)
MODELS = 20  # of symbols, for each number of states


def main() -> None:
    """Simulate both schemes with both kinds of rows, and the symbols; print, and draw."""
    options = parser(__doc__)
    options.set_defaults(rounds=200)
    args = options.parse_args()
    set_threads(args.threads)
    repetitions = 3 if args.quick else args.rounds
    sizes = SIZES[::4] if args.quick else SIZES + LARGE
    record: dict[str, Any] = {"rows": ROWS, "states": STATES, "repetitions": repetitions}
    for scheme in ("general", "aligned"):
        for serial in (False, True):
            name = f"{scheme}, {'one trajectory' if serial else 'rows apart'}"
            seconds, table = timed(
                lambda s=scheme, one=serial: curves(s, one, sizes, repetitions, args.seed)
            )
            off = (table["excess"] / table["theory_excess"] - 1).abs()
            errors = table["excess_error"] / table["theory_excess"]
            record[name] = {
                "seconds": seconds,
                "smallest_off": off.iloc[0],
                "others_off": off.iloc[1:].max(),
                "others_off_size": int(table["size"][off.iloc[1:].idxmax()]),
                "others_off_error": errors[off.iloc[1:].idxmax()],
                "others_off_median": off.iloc[1:].median(),
                "curves": table.to_dict("list"),
            }
            show(shown(name, table))
            if args.output:
                args.output.mkdir(parents=True, exist_ok=True)
                draw(table, name).savefig(
                    args.output / f"complexity_{scheme}_{'serial' if serial else 'apart'}.png"
                )
    generator = torch.Generator().manual_seed(args.seed)
    few = {"train": 300, "test": 200, "length": 16} if args.quick else {}
    seconds, symbols = timed(
        lambda: tune_over_states(
            COUNTS[::3] if args.quick else COUNTS,
            repetitions=2 if args.quick else MODELS,
            generator=generator,
            **few,
        )
    )
    show(symbols.round(3).to_dict("records"))
    record["symbols"] = {"seconds": seconds, "table": symbols.to_dict("list")}
    report("complexity_simulation", args, record)


def curves(
    scheme: Scheme, serial: bool, sizes: tuple[int, ...], repetitions: int, seed: int
) -> pd.DataFrame:
    """Risks by size; aligned weights are drawn for each size, general ones once for the largest."""
    generator = torch.Generator().manual_seed(seed)
    told = {"repetitions": repetitions, "serial": serial, "ridge": True, "generator": generator}
    if scheme == "general":
        model = draw_model(STATES, max(sizes), generator=generator)
        return simulate(model, sizes, rows=ROWS, **told)
    parts = [
        simulate(
            draw_model(STATES, size, scheme=scheme, generator=generator), (size,), rows=ROWS, **told
        )
        for size in sizes
        if size >= STATES
    ]
    return pd.concat(parts, ignore_index=True)


def shown(name: str, table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for people."""
    columns = ["size", "theory_excess", "excess", "bias", "variance", "irreducible", "total"]
    ridge = ["ridge_theory", "ridge_excess", "ridge_tuned"]
    return [{"data": name} | row for row in table[columns + ridge].round(3).to_dict("records")]


def draw(table: pd.DataFrame, name: str) -> Any:
    """The double-descent picture with what ridge makes of it."""
    bare = table.assign(head="ridgeless", test=table["total"])
    tuned = table[["size", "irreducible"]].assign(
        head="ridge", test=table["irreducible"] + table["ridge_tuned"]
    )
    return plot_risk(
        pd.concat([bare, tuned], ignore_index=True),
        rows=ROWS,
        null=float(table["null"].iloc[0]),
        bayes=float(table["bayes"].iloc[0]),
        title=f"Simulation: {name}",
    )


if __name__ == "__main__":
    main()
