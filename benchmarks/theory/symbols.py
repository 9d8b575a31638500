"""Head tuning on symbols of a discrete hidden Markov model.

The setting of Wei, Xie & Ma 2021, "Why Do Pretrained Language Models Help in Downstream Tasks?"
(arXiv 2106.09226), section 5: the pretrained model is exact, so its features are the probabilities
of the symbol before a sequence, and a label depends on the state of that symbol. With at most as
many states as symbols, these probabilities determine those of the states (non-degeneracy); with
more they do not, and a linear head on them fails.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tsar.complexity.heads import fit_logistic

N_SYMBOLS, TEMPERATURE, N_RELEVANT_STATES = 10, 0.01, 6


@dataclass(frozen=True)
class SymbolModel:
    """A discrete hidden Markov model, and the weights of a label on its states.

    Attributes
    ----------
    transition, emission
        Rows are distributions of the next state, and of the symbol.
    weights
        A sequence has label 1 if ``weights @ P(state before it | sequence) >= 0``.
    """

    transition: Float[Tensor, "state state"]
    emission: Float[Tensor, "state symbol"]
    weights: Float[Tensor, " state"]

    @property
    def stationary(self) -> Float[Tensor, " state"]:
        """Stationary distribution: uniform, as the transition is a mixture of permutations."""
        return torch.full((len(self.transition),), 1 / len(self.transition)).to(self.transition)


def sample_symbol_model(
    states: int, *, symbols: int = N_SYMBOLS, generator: torch.Generator
) -> SymbolModel:
    """Sample a nearly deterministic model: almost a permutation, almost one symbol per state.

    Source: Wei et al. 2021, section 5 and appendix; sizes from their code.

    Examples
    --------
    >>> model = sample_symbol_model(4, generator=torch.Generator().manual_seed(0))
    >>> model.transition.sum(dim=0)
    tensor([1.0000, 1.0000, 1.0000, 1.0000], dtype=torch.float64)
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64) - 0.5

    shares = (uniform(states) / TEMPERATURE).softmax(dim=0)
    permutations = uniform(states, states).argsort(dim=1)  # one in each row
    matrices = torch.nn.functional.one_hot(permutations, states).double()
    transition = torch.einsum("k,kij->ij", shares, matrices)
    emission = (uniform(states, symbols) / TEMPERATURE).softmax(dim=1)
    weights = torch.zeros(states, dtype=torch.float64)
    relevant = uniform(states).argsort()[:N_RELEVANT_STATES]
    weights[relevant] = torch.randn(len(relevant), generator=generator, dtype=torch.float64)
    return SymbolModel(transition, emission, weights)


def sample_sequences(
    model: SymbolModel, count: int, length: int, generator: torch.Generator
) -> Int[Tensor, "sequence time"]:
    """Sample sequences of symbols that start in the stationary distribution."""
    state = torch.multinomial(model.stationary, count, replacement=True, generator=generator)
    symbols = []
    for _ in range(length):  # all sequences at once
        state = torch.multinomial(model.transition[state], 1, generator=generator)[:, 0]
        symbols.append(torch.multinomial(model.emission[state], 1, generator=generator)[:, 0])
    return torch.stack(symbols, dim=1)


def initial_state_proba(
    model: SymbolModel, sequences: Int[Tensor, "sequence time"]
) -> Float[Tensor, "sequence state"]:
    """Posterior probabilities of the state before each sequence, by the backward recursion.

    Examples
    --------
    >>> identity, weights = torch.eye(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    >>> model = SymbolModel(identity[[1, 0]], identity, weights)
    >>> initial_state_proba(model, torch.tensor([[0, 1]]))
    tensor([[0., 1.]], dtype=torch.float64)
    """
    backward = model.transition.new_ones(len(sequences), len(model.transition))
    for symbol in sequences.T.flip(0):
        backward = (backward * model.emission.T[symbol]) @ model.transition.T
        backward = backward / backward.sum(dim=1, keepdim=True)
    posterior = model.stationary * backward
    return posterior / posterior.sum(dim=1, keepdim=True)


def tune_heads(
    states: int,
    *,
    train: int = 5000,
    test: int = 1000,
    length: int = 128,
    generator: torch.Generator,
) -> dict[str, Any]:
    """Accuracy of a logistic head on symbol probabilities, and of one on state probabilities.

    Models in which a label has fewer than one sequence in twenty are rejected.

    Source: Wei et al. 2021, section 5, figure 2.

    Parameters
    ----------
    states
        Hidden states K; with more than `N_SYMBOLS` the symbol probabilities do not identify them.
    train, test
        Numbers of sequences.
    length
        Symbols of a sequence.
    generator
        Random numbers.

    Returns
    -------
    dict
        ``states``, ``rank`` of the emission matrix, ``accuracy``, ``accuracy_of_states``, and the
        share of the larger label (``majority``).

    Examples
    --------
    >>> result = tune_heads(
    ...     4, train=200, test=100, length=16, generator=torch.Generator().manual_seed(0)
    ... )
    >>> result["accuracy"] > 0.9
    True
    """
    while True:
        model = sample_symbol_model(states, generator=generator)
        sequences = sample_sequences(model, train + test, length, generator)
        posterior = initial_state_proba(model, sequences)
        labels = posterior @ model.weights >= 0
        if 0.05 < float(labels.double().mean()) < 0.95:
            break
    features = {"accuracy": posterior @ model.emission, "accuracy_of_states": posterior}
    train_labels, test_labels = labels[:train].numpy(), labels[train:].numpy()
    row: dict[str, Any] = {"states": states}
    row["rank"] = int(torch.linalg.matrix_rank(model.emission))
    for name, values in features.items():
        head = fit_logistic(values[:train].numpy(), train_labels, 1e3)
        row[name] = float((head.predict(values[train:].numpy()) == test_labels).mean())
    row["majority"] = float(max(test_labels.mean(), 1 - test_labels.mean()))
    return row


def tune_over_states(
    states: tuple[int, ...], *, repetitions: int, generator: torch.Generator, **sizes: int
) -> pd.DataFrame:
    """Mean and standard error of `tune_heads` over sampled models, a row for each of `states`."""
    results = pd.DataFrame(
        [
            tune_heads(number, generator=generator, **sizes)
            for number in states
            for _ in range(repetitions)
        ]
    )
    groups = results.groupby("states")
    return groups.mean().assign(std_err=groups["accuracy"].sem()).reset_index()
