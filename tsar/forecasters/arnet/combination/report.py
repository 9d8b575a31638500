"""Text of a combination: its members, their weights, and the equation of each."""

from tsar.forecasters.arnet.combination.combination import Combination
from tsar.forecasters.arnet.combination.members import Equations, Member
from tsar.forecasters.summary import WIDTH

MAX_TERMS = 3  # terms of an equation that a row shows


def combination_table(combination: Combination, row: int) -> str:
    """Table of the members of one series: name, weight and equation of each."""
    count = int(combination.n_origins[row])
    evidence = f"errors at {count} earlier origin{'s' if count != 1 else ''}"
    title = f"Combined, weighted by {evidence if count else 'equal shares: too few points'}"
    names = ["levels", *(member.name for member in combination.members)]
    fitted = zip(combination.members, combination.equations, strict=True)
    texts = ["the equation above", *(equation_text(*pair, row) for pair in fitted)]
    weights = combination.weights[row].tolist()
    lines = [f"{'member':<33}{'weight':>7}  equation", "-" * WIDTH]
    rows = zip(names, weights, texts, strict=True)
    lines += [f"{name:<33}{weight:>7.3f}  {text}" for name, weight, text in rows]
    return "\n".join([title, "=" * WIDTH, *lines, "=" * WIDTH])


def equation_text(member: Member, equations: Equations, row: int) -> str:
    """Equation of a member for one series, the largest coefficients alone.

    Examples
    --------
    >>> import torch
    >>> from tsar.forecasters.arnet.combination.members import fit_member
    >>> wave = torch.arange(40, dtype=torch.float64).sin()[None] + 3
    >>> equation_text(Member("levels", 2), fit_member(Member("levels", 2), wave), 0)
    '1.08 L1 - 1 L2 + 2.76'
    """
    if member.kind == "drift":
        return "last value + mean change, damped"
    if member.kind == "smoothing":
        return f"level by factor {float(equations.factor[row]):.2g} + slope, damped"
    coef = equations.coef[row]
    used = coef.nonzero()[:, 0]
    largest = used[coef[used].abs().argsort(descending=True)[:MAX_TERMS]].sort().values
    terms = [f"{float(coef[lag]):+.3g} L{int(lag) + 1}" for lag in largest]
    intercept = float(equations.intercept[row])
    terms += [f"{intercept:+.3g}"] if abs(intercept) > 1e-12 else []
    text = " ".join(terms).replace("+", "+ ").replace("-", "- ").replace("e- ", "e-")
    text = text.removeprefix("+ ").replace("- ", "-", 1) if text[:1] == "-" else text[2:]
    return (text or "0") + (f", {len(used) - MAX_TERMS} more" if len(used) > MAX_TERMS else "")
