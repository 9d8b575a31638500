"""Simulation of head tuning on symbols of a discrete hidden Markov model.

The set-up of Wei, Xie & Ma 2021, "Why Do Pretrained Language Models Help in Downstream Tasks?"
(arXiv 2106.09226), section 5: a pretrained model is taken to be exact, so that the features are the
probabilities of the symbol before a sequence, and a class depends on the state that it came from.
With at most as many states as symbols, these probabilities tell all about the state
(non-degeneracy); with more they do not, and a linear head on them fails.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.complexity.heads import fit_logistic

SYMBOLS, TEMPERATURE, RELEVANT = 10, 0.01, 6


@dataclass(frozen=True)
class SymbolModel:
    """A discrete hidden Markov model, and the weights of a class on its states.

    Attributes
    ----------
    transition, emission
        Rows are distributions of the next state, and of the symbol.
    weights
        A sequence is of class 1 where ``weights @ P(state before it | sequence) >= 0``.
    """

    transition: Float[Tensor, "state state"]
    emission: Float[Tensor, "state symbol"]
    weights: Float[Tensor, " state"]

    @property
    def stationary(self) -> Float[Tensor, " state"]:
        """The distribution of states that stays as it is; of permutations mixed, a uniform one."""
        return torch.full((len(self.transition),), 1 / len(self.transition)).to(self.transition)


def draw_symbol_model(
    states: int, *, symbols: int = SYMBOLS, generator: torch.Generator
) -> SymbolModel:
    """Draw a model: nearly a permutation of the states, nearly a symbol for each.

    Source: Wei et al. 2021, section 5 and appendix; sizes from their code.

    Examples
    --------
    >>> model = draw_symbol_model(4, generator=torch.Generator().manual_seed(0))
    >>> model.transition.sum(dim=0)
    tensor([1.0000, 1.0000, 1.0000, 1.0000], dtype=torch.float64)
    """

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64) - 0.5

    shares = (draw(states) / TEMPERATURE).softmax(dim=0)
    moves = draw(states, states).argsort(dim=1)  # a permutation a row
    permutations = torch.nn.functional.one_hot(moves, states).double()
    transition = torch.einsum("k,kij->ij", shares, permutations)
    emission = (draw(states, symbols) / TEMPERATURE).softmax(dim=1)
    weights = torch.zeros(states, dtype=torch.float64)
    chosen = draw(states).argsort()[:RELEVANT]
    weights[chosen] = torch.randn(len(chosen), generator=generator, dtype=torch.float64)
    return SymbolModel(transition, emission, weights)


def draw_sequences(
    model: SymbolModel, count: int, length: int, generator: torch.Generator
) -> Int[Tensor, "sequence time"]:
    """Draw sequences of symbols, from the stationary distribution on."""
    state = torch.multinomial(model.stationary, count, replacement=True, generator=generator)
    found = []
    for _ in range(length):  # a chain is drawn step by step, all sequences at once
        state = torch.multinomial(model.transition[state], 1, generator=generator)[:, 0]
        found.append(torch.multinomial(model.emission[state], 1, generator=generator)[:, 0])
    return torch.stack(found, dim=1)


def state_before(
    model: SymbolModel, sequences: Int[Tensor, "sequence time"]
) -> Float[Tensor, "sequence state"]:
    """Probabilities of the state before each sequence, given all of it.

    The backward recursion of Baum, scaled at each step.

    Examples
    --------
    >>> sure, one = torch.eye(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    >>> state_before(SymbolModel(sure[[1, 0]], sure, one), torch.tensor([[0, 1]]))
    tensor([[0., 1.]], dtype=torch.float64)
    """
    ahead = model.transition.new_ones(len(sequences), len(model.transition))
    for symbol in sequences.T.flip(0):
        ahead = (ahead * model.emission.T[symbol]) @ model.transition.T
        ahead = ahead / ahead.sum(dim=1, keepdim=True)
    posterior = model.stationary * ahead
    return posterior / posterior.sum(dim=1, keepdim=True)


def tune_heads(
    states: int,
    *,
    train: int = 5000,
    test: int = 1000,
    length: int = 128,
    generator: torch.Generator,
) -> dict[str, Any]:
    """Accuracy of a logistic head on symbol probabilities, beside one on the states' own.

    Source: Wei et al. 2021, section 5, figure 2. Classes of fewer than one sequence in twenty are
    drawn anew.

    Parameters
    ----------
    states
        Hidden states K; with more than `SYMBOLS` the probabilities do not tell them apart.
    train, test
        Sequences.
    length
        Symbols of a sequence.
    generator
        Of the seed.

    Returns
    -------
    dict
        ``states``, ``rank`` of the emissions, ``accuracy``, ``accuracy_of_states``, ``majority``.

    Examples
    --------
    >>> told = tune_heads(
    ...     4, train=200, test=100, length=16, generator=torch.Generator().manual_seed(0)
    ... )
    >>> told["accuracy"] > 0.9
    True
    """
    while True:
        model = draw_symbol_model(states, generator=generator)
        sequences = draw_sequences(model, train + test, length, generator)
        posterior = state_before(model, sequences)
        labels = posterior @ model.weights >= 0
        share = float(labels.double().mean())
        if 0.05 < share < 0.95:
            break
    features = {"accuracy": posterior @ model.emission, "accuracy_of_states": posterior}
    known, asked = labels[:train].numpy(), labels[train:].numpy()
    row: dict[str, Any] = {"states": states}
    row["rank"] = int(torch.linalg.matrix_rank(model.emission))
    for name, values in features.items():
        head = fit_logistic(values[:train].numpy(), known, 1e3)
        row[name] = float((head.predict(values[train:].numpy()) == asked).mean())
    row["majority"] = float(max(asked.mean(), 1 - asked.mean()))
    return row


def tune_over_states(
    counts: tuple[int, ...], *, repetitions: int, generator: torch.Generator, **sizes: int
) -> pd.DataFrame:
    """Mean and standard error of `tune_heads` over models drawn anew, a row a number of states."""
    found = pd.DataFrame(
        [
            tune_heads(states, generator=generator, **sizes)
            for states in counts
            for _ in range(repetitions)
        ]
    )
    groups = found.groupby("states")
    return groups.mean().assign(error=groups["accuracy"].sem()).reset_index()
