"""Inference in discrete-state HMMs against enumeration of paths, textbooks and hmmlearn."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hmmlearn import hmm
from torch import Tensor

from tsar.hmm.discrete import recursion
from tsar.hmm.discrete.inference import (
    filter_states,
    forward_backward,
    predict_states,
    sample_states,
    stationary_distribution,
)
from tsar.hmm.discrete.viterbi import decode

Model = tuple[Tensor, Tensor, Tensor]


@pytest.fixture(autouse=True, params=["tensors", "compiled"])
def engine(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test with the tensor recursion and with the compiled one."""
    if request.param == "tensors":
        monkeypatch.setattr("tsar.hmm.discrete.compiled.supports", lambda _: False)


def random_chain(
    rows: int,
    time: int,
    states: int,
    *,
    seed: int = 0,
    persistence: float = 0.0,
    spread: float = 2.0,
) -> Model:
    """Random models, with log densities of standard deviation `spread`."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64) + 0.01

    startprob = draw(rows, states)
    transmat = draw(rows, states, states)
    transmat = transmat / transmat.sum(-1, keepdim=True)
    transmat = (1 - persistence) * transmat + persistence * torch.eye(states, dtype=torch.float64)
    noise = torch.randn(rows, time, states, generator=generator, dtype=torch.float64)
    return startprob / startprob.sum(-1, keepdim=True), transmat, spread * noise


def all_paths(model: Model) -> tuple[np.ndarray[Any, Any], ...]:
    """All paths of the first row, and the log density of each together with the points."""
    startprob, transmat, log_density = (tensor[0].numpy() for tensor in model)
    time, states = log_density.shape
    paths = np.array(list(itertools.product(range(states), repeat=time)))
    with np.errstate(divide="ignore"):
        density = np.log(startprob)[paths[:, 0]] + log_density[0][paths[:, 0]]
        for step in range(1, time):
            density += (
                np.log(transmat)[paths[:, step - 1], paths[:, step]]
                + log_density[step][paths[:, step]]
            )
    return paths, density


def logsumexp(density: np.ndarray[Any, Any]) -> float:
    top = density.max()
    return float(top + np.log(np.exp(density - top).sum()))


def impossible(model: Model) -> Model:
    """The same model with impossible transitions, which need logarithms."""
    startprob, transmat, log_density = model
    transmat = transmat.clone()
    transmat[:, 0, -1] = 0.0
    return startprob, transmat / transmat.sum(-1, keepdim=True), log_density


MODELS = [
    random_chain(1, 7, 3),
    impossible(random_chain(1, 7, 3)),
    random_chain(1, 1, 3),
    random_chain(1, 6, 1),
]


@pytest.mark.parametrize("model", MODELS)
def test_posteriors_and_transitions_are_sums_over_all_paths(model: Model) -> None:
    paths, density = all_paths(model)
    weight = np.exp(density - logsumexp(density))
    states = model[0].shape[1]
    posterior = np.stack([weight @ (paths == state) for state in range(states)], 1)
    pairs = np.zeros((states, states))
    for step in range(1, paths.shape[1]):
        np.add.at(pairs, (paths[:, step - 1], paths[:, step]), weight)
    result = forward_backward(*model)
    np.testing.assert_allclose(result.posteriors[0], posterior, atol=1e-14)
    np.testing.assert_allclose(result.transitions[0], pairs, atol=1e-14)
    assert float(result.log_likelihood) == pytest.approx(logsumexp(density), rel=1e-14)


@pytest.mark.parametrize("model", MODELS)
def test_filtered_probabilities_are_sums_over_all_paths_so_far(model: Model) -> None:
    result = filter_states(*model)
    for step in range(1, model[2].shape[1] + 1):
        paths, density = all_paths((*model[:2], model[2][:, :step]))
        weight = np.exp(density - logsumexp(density))
        last = [weight @ (paths[:, -1] == state) for state in range(model[0].shape[1])]
        np.testing.assert_allclose(result.probability[0, step - 1], last, atol=1e-14)
        log_likelihood = float(result.log_density[0, :step].sum())
        assert log_likelihood == pytest.approx(logsumexp(density), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_decode_finds_the_best_of_all_paths(model: Model) -> None:
    paths, density = all_paths(model)
    result = decode(*model)
    np.testing.assert_array_equal(result.states[0], paths[density.argmax()])
    assert float(result.log_probability) == pytest.approx(float(density.max()), rel=1e-13)


def umbrella_world() -> Model:
    """Russell & Norvig 2010, section 15.2: rain or not, and an umbrella on days 1, 2, 4, 5."""
    umbrella = torch.tensor([[0.9, 0.2], [0.1, 0.8]], dtype=torch.float64).log()
    log_density = umbrella[torch.tensor([0, 0, 1, 0, 0])][None]
    startprob = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    return startprob, torch.tensor([[[0.7, 0.3], [0.3, 0.7]]], dtype=torch.float64), log_density


def test_the_umbrella_world_of_the_textbook() -> None:
    filtered = filter_states(*umbrella_world()).probability[0, :, 0]
    np.testing.assert_allclose(filtered, [0.8182, 0.8834, 0.1907, 0.7308, 0.8673], atol=5e-5)
    smoothed = forward_backward(*umbrella_world()).posteriors[0, :, 0]
    np.testing.assert_allclose(smoothed, [0.8673, 0.8204, 0.3075, 0.8204, 0.8673], atol=5e-5)
    assert decode(*umbrella_world()).states.tolist() == [[0, 0, 1, 0, 0]]


def reference(model: Model) -> tuple[float, Any, Any, Any]:
    """Log-likelihood, posteriors, best log density and best path of the first row, by hmmlearn."""
    hmmlearn_model = hmm.GaussianHMM(model[0].shape[1])
    hmmlearn_model.n_features = 1
    hmmlearn_model.startprob_, hmmlearn_model.transmat_ = model[0][0].numpy(), model[1][0].numpy()
    hmmlearn_model.means_ = hmmlearn_model.covars_ = np.ones((model[0].shape[1], 1))
    hmmlearn_model._compute_log_likelihood = lambda X: model[2][0].numpy()
    points = np.zeros((model[2].shape[1], 1))
    likelihood, posterior = hmmlearn_model.score_samples(points)
    best, path = hmmlearn_model.decode(points)
    return likelihood, posterior, best, path


@pytest.mark.parametrize("persistence", [0.0, 0.9, 0.999, 1 - 1e-7])
@pytest.mark.parametrize(("time", "states", "spread"), [(5000, 3, 1.0), (2000, 12, 0.1)])
def test_long_chains_equal_hmmlearn(
    time: int, states: int, spread: float, persistence: float
) -> None:
    model = random_chain(1, time, states, persistence=persistence, spread=spread, seed=3)
    likelihood, posterior, best, path = reference(model)
    result = forward_backward(*model)
    assert float(result.log_likelihood) == pytest.approx(likelihood, rel=1e-11)
    np.testing.assert_allclose(result.posteriors[0], posterior, atol=1e-9)
    decoded = decode(*model)
    assert float(decoded.log_probability) == pytest.approx(best, rel=1e-11)
    assert (decoded.states[0].numpy() != path).mean() < 1e-3  # ties


def left_right(states: int) -> Tensor:
    """Each state stays or moves to the next one."""
    persistence = 0.999 * torch.eye(states, dtype=torch.float64)
    transmat = persistence + 0.001 * torch.roll(torch.eye(states, dtype=torch.float64), 1, 1)
    transmat[-1] = torch.eye(states)[-1]
    return transmat[None]


@pytest.mark.parametrize("spread", [0.1, 30.0])
@pytest.mark.parametrize("kind", ["left-right", "circle", "no way back"])
def test_long_chains_with_impossible_transitions_equal_hmmlearn(kind: str, spread: float) -> None:
    """Probabilities underflow, and recover."""
    startprob, transmat, log_density = random_chain(
        1, 1200, 5, persistence=0.9, spread=spread, seed=5
    )
    if kind == "left-right":
        transmat = left_right(5)
    elif kind == "circle":
        transmat = torch.roll(torch.eye(5, dtype=torch.float64), 1, 1)[None]
    else:
        transmat[:, 2:, :2] = 0.0
        transmat = transmat / transmat.sum(-1, keepdim=True)
    model = startprob, transmat, log_density
    likelihood, posterior, best, path = reference(model)
    result = forward_backward(*model)
    assert float(result.log_likelihood) == pytest.approx(likelihood, rel=1e-11)
    np.testing.assert_allclose(result.posteriors[0], posterior, atol=1e-9)
    filtered = filter_states(*model)
    assert float(filtered.log_likelihood) == pytest.approx(likelihood, rel=1e-11)
    np.testing.assert_allclose(filtered.probability[0, -1], posterior[-1], atol=1e-9)
    assert float(result.transitions.sum()) == pytest.approx(1199)
    assert bool((result.transitions[transmat == 0] == 0).all())
    # Expected departures of each state equal its expected visits before the last point.
    visits = torch.from_numpy(posterior[:-1].sum(0))
    torch.testing.assert_close(result.transitions[0].sum(1), visits, atol=1e-8, rtol=1e-8)
    decoded = decode(*model)
    assert float(decoded.log_probability) == pytest.approx(best, rel=1e-11)
    assert (decoded.states[0].numpy() != path).mean() < 1e-3


def test_a_state_recovers_from_underflow() -> None:
    """The points favor state 0 by e^4000, but the last one is possible in state 1 only."""
    transmat = torch.eye(2, dtype=torch.float64)[None]
    log_density = torch.tensor([[0.0, -100.0]], dtype=torch.float64).repeat(41, 1)
    log_density[-1] = torch.tensor([-torch.inf, 0.0])
    uniform = torch.full((1, 2), 0.5, dtype=torch.float64)
    result = forward_backward(uniform, transmat, log_density[None])
    assert float(result.log_likelihood) == pytest.approx(-4000 + np.log(0.5))
    np.testing.assert_array_equal(result.posteriors[0, :, 1], 1.0)
    np.testing.assert_array_equal(result.transitions[0], [[0.0, 0.0], [0.0, 40.0]])


def test_a_chain_that_never_forgets_its_start_is_exact() -> None:
    """Two absorbing states, alternately more likely by far more than a float64 holds."""
    evidence = torch.cat([torch.full((3000,), 1.0), torch.full((3000,), -1.01)]).double()
    log_density = torch.stack([evidence, -evidence], 1)[None]
    identity = torch.eye(2, dtype=torch.float64)[None]
    uniform = torch.full((1, 2), 0.5, dtype=torch.float64)
    result = filter_states(uniform, identity, log_density)
    assert float(result.log_likelihood) == pytest.approx(30 + np.log(0.5))
    np.testing.assert_allclose(result.probability[0, 2999], [1, 0], atol=1e-12)
    np.testing.assert_allclose(result.probability[0, -1], [0, 1], atol=1e-12)
    assert decode(uniform, identity, log_density).states.unique().tolist() == [1]


def test_a_cyclic_chain_without_information_is_exact() -> None:
    """A cycle of states and uninformative points: only the start determines the state."""
    circle = torch.roll(torch.eye(5), 1, 1).double()[None]
    circle = 0.999999999 * circle + 1e-9 / 5
    startprob = torch.tensor([[0.6, 0.1, 0.1, 0.1, 0.1]], dtype=torch.float64)
    log_density = torch.zeros(1, 4000, 5, dtype=torch.float64)
    result = filter_states(startprob, circle, log_density).probability[0]
    expected = startprob[0]
    for _ in range(3999):
        expected = expected @ circle[0]
    np.testing.assert_allclose(result[-1], expected, rtol=1e-9)


@pytest.mark.parametrize(
    "model", [random_chain(3, 900, 4, persistence=0.9), impossible(random_chain(3, 900, 4))]
)
def test_chunks_do_not_affect_the_result(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    chunked = forward_backward(*model)
    path = decode(*model)
    monkeypatch.setattr("tsar.hmm.discrete.chunks.n_chunks", lambda *_: 1)
    unchunked = forward_backward(*model)
    torch.testing.assert_close(chunked, unchunked, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(path, decode(*model))
    assert recursion.n_chunks(3, 900, 4) > 1


@pytest.mark.parametrize("model", [random_chain(4, 60, 3), impossible(random_chain(4, 60, 3))])
def test_a_batch_equals_its_rows_one_by_one(model: Model) -> None:
    lengths = torch.tensor([60, 31, 2, 1])
    rows = [tuple(tensor[[row]] for tensor in model) for row in range(4)]
    padded = model[2].clone()
    for row, length in enumerate(lengths.tolist()):
        padded[row, length:] = 0.0
    together = forward_backward(*model[:2], padded, lengths)
    path = decode(*model[:2], padded, lengths)
    for row, length in enumerate(lengths.tolist()):
        startprob, transmat, log_density = rows[row]
        alone = forward_backward(startprob, transmat, log_density[:, :length])
        torch.testing.assert_close(together.posteriors[[row], :length], alone.posteriors)
        torch.testing.assert_close(together.transitions[[row]], alone.transitions)
        torch.testing.assert_close(together.log_likelihood[[row]], alone.log_likelihood)
        best = decode(startprob, transmat, log_density[:, :length])
        assert torch.equal(path.states[[row], :length], best.states)
        torch.testing.assert_close(path.log_probability[[row]], best.log_probability)


def test_unreachable_states_pad_smaller_models() -> None:
    startprob, transmat, log_density = random_chain(1, 40, 3)
    padded_transmat = torch.zeros(1, 4, 4, dtype=torch.float64)
    padded_transmat[:, :3, :3], padded_transmat[:, 3, 3] = transmat, 1.0
    pad = torch.nn.functional.pad
    result = forward_backward(
        pad(startprob, (0, 1)), padded_transmat, pad(log_density, (0, 1), value=-torch.inf)
    )
    known = forward_backward(startprob, transmat, log_density)
    torch.testing.assert_close(result.posteriors[:, :, :3], known.posteriors)
    torch.testing.assert_close(result.log_likelihood, known.log_likelihood)


def test_missing_points_are_summed_out() -> None:
    startprob, transmat, log_density = random_chain(1, 5, 2)
    log_density[:, 2] = 0.0
    paths, density = all_paths((startprob, transmat, log_density))
    posterior = np.exp(density - logsumexp(density)) @ (paths[:, 2] == 0)
    result = forward_backward(startprob, transmat, log_density).posteriors
    assert float(result[0, 2, 0]) == pytest.approx(posterior)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_improbable_points_do_not_underflow(dtype: torch.dtype) -> None:
    startprob, transmat, log_density = (
        tensor.to(dtype) for tensor in random_chain(2, 4000, 3, spread=5.0)
    )
    log_density[:, 700] = torch.tensor([-1e6, -2e6, -1.5e6], dtype=dtype)
    log_density[:, 701] = torch.tensor([-3e4, -1e4, 0.0], dtype=dtype)
    result = forward_backward(startprob, transmat, log_density)
    assert bool(result.posteriors.isfinite().all())
    expected = reference(tuple(tensor.double() for tensor in (startprob, transmat, log_density)))  # type: ignore[arg-type]
    assert float(result.log_likelihood[0]) == pytest.approx(expected[0], rel=1e-5)
    tolerance = 1e-9 if dtype == torch.float64 else 2e-3
    np.testing.assert_allclose(result.posteriors[0], expected[1], atol=tolerance)


def test_a_million_points_lose_no_precision() -> None:
    startprob, transmat, log_density = random_chain(1, 1_000_000, 2, persistence=0.9)
    result = filter_states(startprob, transmat, log_density)
    # Two halves, the second started with the prediction of the first.
    first = filter_states(startprob, transmat, log_density[:, :500_000])
    ahead = predict_states(first.probability[:, -1], transmat, 1)[:, 0]
    rest = filter_states(ahead, transmat, log_density[:, 500_000:])
    joined = float(first.log_likelihood + rest.log_likelihood)
    assert float(result.log_likelihood) == pytest.approx(joined, rel=1e-13)


def test_points_that_are_impossible_in_all_states_have_likelihood_zero() -> None:
    startprob, transmat, log_density = random_chain(1, 30, 2)
    log_density[:, 10] = -torch.inf
    result = forward_backward(startprob, transmat, log_density)
    assert float(result.log_likelihood) == -np.inf
    assert bool(result.posteriors.isfinite().all())


def test_predictions_are_powers_of_the_transition_matrix() -> None:
    startprob, transmat, _ = random_chain(2, 1, 4)
    result = predict_states(startprob, transmat, 11)
    for step in range(11):
        expected = torch.linalg.matrix_power(transmat, step + 1)
        torch.testing.assert_close(result[:, step], (startprob[:, None] @ expected)[:, 0])


def test_sampled_paths_have_the_transition_frequencies_of_the_model() -> None:
    startprob, transmat, _ = random_chain(3, 1, 3)
    paths = sample_states(startprob, transmat, 40_000, torch.Generator().manual_seed(1))
    for row in range(3):
        pairs = torch.zeros(3, 3).index_put_(
            (paths[row, :-1], paths[row, 1:]), torch.tensor(1.0), accumulate=True
        )
        share = pairs / pairs.sum(1, keepdim=True)
        torch.testing.assert_close(share.double(), transmat[row], atol=0.02, rtol=0)
    again = sample_states(startprob, transmat, 40_000, torch.Generator().manual_seed(1))
    assert torch.equal(paths, again)


def test_stationary_distribution_is_invariant() -> None:
    _, transmat, _ = random_chain(5, 1, 6)
    result = stationary_distribution(transmat)
    torch.testing.assert_close((result[:, None] @ transmat)[:, 0], result)
    torch.testing.assert_close(result.sum(1), torch.ones(5, dtype=torch.float64))
    of_identity = stationary_distribution(torch.eye(3, dtype=torch.float64)[None])
    torch.testing.assert_close(of_identity.sum(1), torch.ones(1, dtype=torch.float64))


@pytest.mark.gpu
def test_gpu_equals_cpu() -> None:
    model = random_chain(8, 3000, 5, persistence=0.9)
    on_gpu = tuple(tensor.cuda() for tensor in model)
    torch.testing.assert_close(
        forward_backward(*on_gpu).posteriors.cpu(), forward_backward(*model).posteriors
    )
