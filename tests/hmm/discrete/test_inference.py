"""Inference in hidden Markov models, against every path, textbooks and hmmlearn."""

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
    """Both ways in which the sums over paths are made."""
    if request.param == "tensors":
        monkeypatch.setattr("tsar.hmm.discrete.compiled.supports", lambda _: False)


def chain(
    rows: int, time: int, states: int, *, seed: int = 0, stay: float = 0.0, spread: float = 2.0
) -> Model:
    """Random models, with densities that differ by some nats."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float64) + 0.01

    start = draw(rows, states)
    move = draw(rows, states, states)
    move = move / move.sum(-1, keepdim=True)
    move = (1 - stay) * move + stay * torch.eye(states, dtype=torch.float64)
    noise = torch.randn(rows, time, states, generator=generator, dtype=torch.float64)
    return start / start.sum(-1, keepdim=True), move, spread * noise


def every_path(model: Model) -> tuple[np.ndarray[Any, Any], ...]:
    """Paths of the first row, and the log density of each together with the points."""
    start, move, seen = (tensor[0].numpy() for tensor in model)
    time, states = seen.shape
    paths = np.array(list(itertools.product(range(states), repeat=time)))
    with np.errstate(divide="ignore"):
        density = np.log(start)[paths[:, 0]] + seen[0][paths[:, 0]]
        for step in range(1, time):
            density += np.log(move)[paths[:, step - 1], paths[:, step]] + seen[step][paths[:, step]]
    return paths, density


def total(density: np.ndarray[Any, Any]) -> float:
    top = density.max()
    return float(top + np.log(np.exp(density - top).sum()))


def impossible(model: Model) -> Model:
    """The same with transitions that never happen: logarithms are summed then."""
    start, move, seen = model
    move = move.clone()
    move[:, 0, -1] = 0.0
    return start, move / move.sum(-1, keepdim=True), seen


MODELS = [chain(1, 7, 3), impossible(chain(1, 7, 3)), chain(1, 1, 3), chain(1, 6, 1)]


@pytest.mark.parametrize("model", MODELS)
def test_what_is_known_of_each_point_is_the_sum_over_every_path(model: Model) -> None:
    paths, density = every_path(model)
    weight = np.exp(density - total(density))
    states = model[0].shape[1]
    posterior = np.stack([weight @ (paths == state) for state in range(states)], 1)
    pairs = np.zeros((states, states))
    for step in range(1, paths.shape[1]):
        np.add.at(pairs, (paths[:, step - 1], paths[:, step]), weight)
    found = forward_backward(*model)
    np.testing.assert_allclose(found.posteriors[0], posterior, atol=1e-14)
    np.testing.assert_allclose(found.transitions[0], pairs, atol=1e-14)
    assert float(found.log_likelihood) == pytest.approx(total(density), rel=1e-14)


@pytest.mark.parametrize("model", MODELS)
def test_a_filter_sees_the_points_so_far(model: Model) -> None:
    found = filter_states(*model)
    for step in range(1, model[2].shape[1] + 1):
        paths, density = every_path((*model[:2], model[2][:, :step]))
        weight = np.exp(density - total(density))
        last = [weight @ (paths[:, -1] == state) for state in range(model[0].shape[1])]
        np.testing.assert_allclose(found.probability[0, step - 1], last, atol=1e-14)
        sofar = float(found.log_density[0, :step].sum())
        assert sofar == pytest.approx(total(density), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_the_best_path_is_the_best_of_every_path(model: Model) -> None:
    paths, density = every_path(model)
    found = decode(*model)
    np.testing.assert_array_equal(found.states[0], paths[density.argmax()])
    assert float(found.log_probability) == pytest.approx(float(density.max()), rel=1e-13)


def weather() -> Model:
    """Russell & Norvig 2010, section 15.2: rain or not, and an umbrella on days 1, 2, 4, 5."""
    umbrella = torch.tensor([[0.9, 0.2], [0.1, 0.8]], dtype=torch.float64).log()
    seen = umbrella[torch.tensor([0, 0, 1, 0, 0])][None]
    start = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    return start, torch.tensor([[[0.7, 0.3], [0.3, 0.7]]], dtype=torch.float64), seen


def test_the_weather_of_the_textbook() -> None:
    filtered = filter_states(*weather()).probability[0, :, 0]
    np.testing.assert_allclose(filtered, [0.8182, 0.8834, 0.1907, 0.7308, 0.8673], atol=5e-5)
    smoothed = forward_backward(*weather()).posteriors[0, :, 0]
    np.testing.assert_allclose(smoothed, [0.8673, 0.8204, 0.3075, 0.8204, 0.8673], atol=5e-5)
    assert decode(*weather()).states.tolist() == [[0, 0, 1, 0, 0]]


def reference(model: Model) -> tuple[float, Any, Any, Any]:
    """Log likelihood, posterior, best path and its density, of the first row by hmmlearn."""
    peer = hmm.GaussianHMM(model[0].shape[1])
    peer.n_features = 1
    peer.startprob_, peer.transmat_ = model[0][0].numpy(), model[1][0].numpy()
    peer.means_ = peer.covars_ = np.ones((model[0].shape[1], 1))
    peer._compute_log_likelihood = lambda X: model[2][0].numpy()
    points = np.zeros((model[2].shape[1], 1))
    likelihood, posterior = peer.score_samples(points)
    best, path = peer.decode(points)
    return likelihood, posterior, best, path


@pytest.mark.parametrize("stay", [0.0, 0.9, 0.999, 1 - 1e-7])
@pytest.mark.parametrize(("time", "states", "spread"), [(5000, 3, 1.0), (2000, 12, 0.1)])
def test_long_chains_are_as_hmmlearn_says(
    time: int, states: int, spread: float, stay: float
) -> None:
    model = chain(1, time, states, stay=stay, spread=spread, seed=3)
    likelihood, posterior, best, path = reference(model)
    found = forward_backward(*model)
    assert float(found.log_likelihood) == pytest.approx(likelihood, rel=1e-11)
    np.testing.assert_allclose(found.posteriors[0], posterior, atol=1e-9)
    decoded = decode(*model)
    assert float(decoded.log_probability) == pytest.approx(best, rel=1e-11)
    assert (decoded.states[0].numpy() != path).mean() < 1e-3  # where two are as good


def left_right(states: int) -> Tensor:
    """Each state goes on to the next or stays."""
    stay = 0.999 * torch.eye(states, dtype=torch.float64)
    move = stay + 0.001 * torch.roll(torch.eye(states, dtype=torch.float64), 1, 1)
    move[-1] = torch.eye(states)[-1]
    return move[None]


@pytest.mark.parametrize("spread", [0.1, 30.0])
@pytest.mark.parametrize("kind", ["left-right", "circle", "no way back"])
def test_long_chains_with_impossible_transitions_are_as_hmmlearn_says(
    kind: str, spread: float
) -> None:
    """Probabilities fall far below the least number, and come back."""
    start, move, seen = chain(1, 1200, 5, stay=0.9, spread=spread, seed=5)
    if kind == "left-right":
        move = left_right(5)
    elif kind == "circle":
        move = torch.roll(torch.eye(5, dtype=torch.float64), 1, 1)[None]
    else:
        move[:, 2:, :2] = 0.0
        move = move / move.sum(-1, keepdim=True)
    model = start, move, seen
    likelihood, posterior, best, path = reference(model)
    found = forward_backward(*model)
    assert float(found.log_likelihood) == pytest.approx(likelihood, rel=1e-11)
    np.testing.assert_allclose(found.posteriors[0], posterior, atol=1e-9)
    filtered = filter_states(*model)
    assert float(filtered.log_likelihood) == pytest.approx(likelihood, rel=1e-11)
    np.testing.assert_allclose(filtered.probability[0, -1], posterior[-1], atol=1e-9)
    assert float(found.transitions.sum()) == pytest.approx(1199)
    assert bool((found.transitions[move == 0] == 0).all())
    # Leaving each state as often as it is visited before the last point.
    visits = torch.from_numpy(posterior[:-1].sum(0))
    torch.testing.assert_close(found.transitions[0].sum(1), visits, atol=1e-8, rtol=1e-8)
    decoded = decode(*model)
    assert float(decoded.log_probability) == pytest.approx(best, rel=1e-11)
    assert (decoded.states[0].numpy() != path).mean() < 1e-3


def test_a_state_comes_back_from_below_the_least_number() -> None:
    """The points speak for state 0 by e^4000, but only state 1 can show the last one."""
    move = torch.eye(2, dtype=torch.float64)[None]
    seen = torch.tensor([[0.0, -100.0]], dtype=torch.float64).repeat(41, 1)
    seen[-1] = torch.tensor([-torch.inf, 0.0])
    half = torch.full((1, 2), 0.5, dtype=torch.float64)
    found = forward_backward(half, move, seen[None])
    assert float(found.log_likelihood) == pytest.approx(-4000 + np.log(0.5))
    np.testing.assert_array_equal(found.posteriors[0, :, 1], 1.0)
    np.testing.assert_array_equal(found.transitions[0], [[0.0, 0.0], [0.0, 40.0]])


def test_a_chain_that_never_forgets_is_run_from_every_state() -> None:
    """Two states that nothing ever leaves, in turns more likely by far more than underflows."""
    lean = torch.cat([torch.full((3000,), 1.0), torch.full((3000,), -1.01)]).double()
    seen = torch.stack([lean, -lean], 1)[None]
    still = torch.eye(2, dtype=torch.float64)[None]
    half = torch.full((1, 2), 0.5, dtype=torch.float64)
    found = filter_states(half, still, seen)
    assert float(found.log_likelihood) == pytest.approx(30 + np.log(0.5))
    np.testing.assert_allclose(found.probability[0, 2999], [1, 0], atol=1e-12)
    np.testing.assert_allclose(found.probability[0, -1], [0, 1], atol=1e-12)
    assert decode(half, still, seen).states.unique().tolist() == [1]


def test_a_chain_that_turns_round_is_exact() -> None:
    """States in a circle that points say nothing of: only the start tells where one is."""
    circle = torch.roll(torch.eye(5), 1, 1).double()[None]
    circle = 0.999999999 * circle + 1e-9 / 5
    start = torch.tensor([[0.6, 0.1, 0.1, 0.1, 0.1]], dtype=torch.float64)
    seen = torch.zeros(1, 4000, 5, dtype=torch.float64)
    found = filter_states(start, circle, seen).probability[0]
    slow = start[0]
    for _ in range(3999):
        slow = slow @ circle[0]
    np.testing.assert_allclose(found[-1], slow, rtol=1e-9)


@pytest.mark.parametrize("model", [chain(3, 900, 4, stay=0.9), impossible(chain(3, 900, 4))])
def test_chunks_change_nothing(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = forward_backward(*model)
    path = decode(*model)
    monkeypatch.setattr("tsar.hmm.discrete.chunks.n_chunks", lambda *_: 1)
    whole = forward_backward(*model)
    torch.testing.assert_close(cut, whole, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(path, decode(*model))
    assert recursion.n_chunks(3, 900, 4) > 1


@pytest.mark.parametrize("model", [chain(4, 60, 3), impossible(chain(4, 60, 3))])
def test_a_batch_is_its_rows_one_by_one(model: Model) -> None:
    lengths = torch.tensor([60, 31, 2, 1])
    rows = [tuple(tensor[[row]] for tensor in model) for row in range(4)]
    padded = model[2].clone()
    for row, length in enumerate(lengths.tolist()):
        padded[row, length:] = 0.0
    together = forward_backward(*model[:2], padded, lengths)
    path = decode(*model[:2], padded, lengths)
    for row, length in enumerate(lengths.tolist()):
        start, move, seen = rows[row]
        alone = forward_backward(start, move, seen[:, :length])
        torch.testing.assert_close(together.posteriors[[row], :length], alone.posteriors)
        torch.testing.assert_close(together.transitions[[row]], alone.transitions)
        torch.testing.assert_close(together.log_likelihood[[row]], alone.log_likelihood)
        best = decode(start, move, seen[:, :length])
        assert torch.equal(path.states[[row], :length], best.states)
        torch.testing.assert_close(path.log_probability[[row]], best.log_probability)


def test_states_that_nothing_leads_to_pad_smaller_models() -> None:
    start, move, seen = chain(1, 40, 3)
    wide = torch.zeros(1, 4, 4, dtype=torch.float64)
    wide[:, :3, :3], wide[:, 3, 3] = move, 1.0
    pad = torch.nn.functional.pad
    found = forward_backward(pad(start, (0, 1)), wide, pad(seen, (0, 1), value=-torch.inf))
    known = forward_backward(start, move, seen)
    torch.testing.assert_close(found.posteriors[:, :, :3], known.posteriors)
    torch.testing.assert_close(found.log_likelihood, known.log_likelihood)


def test_missing_points_are_summed_out() -> None:
    start, move, seen = chain(1, 5, 2)
    seen[:, 2] = 0.0
    paths, density = every_path((start, move, seen))
    posterior = np.exp(density - total(density)) @ (paths[:, 2] == 0)
    assert float(forward_backward(start, move, seen).posteriors[0, 2, 0]) == pytest.approx(
        posterior
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_improbable_points_do_not_underflow(dtype: torch.dtype) -> None:
    start, move, seen = (tensor.to(dtype) for tensor in chain(2, 4000, 3, spread=5.0))
    seen[:, 700] = torch.tensor([-1e6, -2e6, -1.5e6], dtype=dtype)
    seen[:, 701] = torch.tensor([-3e4, -1e4, 0.0], dtype=dtype)
    found = forward_backward(start, move, seen)
    assert bool(found.posteriors.isfinite().all())
    slow = reference(tuple(tensor.double() for tensor in (start, move, seen)))  # type: ignore[arg-type]
    assert float(found.log_likelihood[0]) == pytest.approx(slow[0], rel=1e-5)
    room = 1e-9 if dtype == torch.float64 else 2e-3
    np.testing.assert_allclose(found.posteriors[0], slow[1], atol=room)


def test_a_million_points_lose_nothing() -> None:
    start, move, seen = chain(1, 1_000_000, 2, stay=0.9)
    found = filter_states(start, move, seen)
    # Two halves, the second from what the first says of its start.
    half = filter_states(start, move, seen[:, :500_000])
    ahead = predict_states(half.probability[:, -1], move, 1)[:, 0]
    rest = filter_states(ahead, move, seen[:, 500_000:])
    joined = float(half.log_likelihood + rest.log_likelihood)
    assert float(found.log_likelihood) == pytest.approx(joined, rel=1e-13)


def test_points_that_no_state_can_show_have_no_likelihood() -> None:
    start, move, seen = chain(1, 30, 2)
    seen[:, 10] = -torch.inf
    found = forward_backward(start, move, seen)
    assert float(found.log_likelihood) == -np.inf
    assert bool(found.posteriors.isfinite().all())


def test_predictions_are_powers() -> None:
    start, move, _ = chain(2, 1, 4)
    found = predict_states(start, move, 11)
    for step in range(11):
        slow = torch.linalg.matrix_power(move, step + 1)
        torch.testing.assert_close(found[:, step], (start[:, None] @ slow)[:, 0])


def test_drawn_paths_move_as_often_as_they_should() -> None:
    start, move, _ = chain(3, 1, 3)
    drawn = sample_states(start, move, 40_000, torch.Generator().manual_seed(1))
    for row in range(3):
        pairs = torch.zeros(3, 3).index_put_(
            (drawn[row, :-1], drawn[row, 1:]), torch.tensor(1.0), accumulate=True
        )
        share = pairs / pairs.sum(1, keepdim=True)
        torch.testing.assert_close(share.double(), move[row], atol=0.02, rtol=0)
    again = sample_states(start, move, 40_000, torch.Generator().manual_seed(1))
    assert torch.equal(drawn, again)


def test_a_stationary_distribution_stays() -> None:
    _, move, _ = chain(5, 1, 6)
    found = stationary_distribution(move)
    torch.testing.assert_close((found[:, None] @ move)[:, 0], found)
    torch.testing.assert_close(found.sum(1), torch.ones(5, dtype=torch.float64))
    still = stationary_distribution(torch.eye(3, dtype=torch.float64)[None])
    torch.testing.assert_close(still.sum(1), torch.ones(1, dtype=torch.float64))


@pytest.mark.gpu
def test_a_gpu_says_what_a_cpu_does() -> None:
    model = chain(8, 3000, 5, stay=0.9)
    moved = tuple(tensor.cuda() for tensor in model)
    torch.testing.assert_close(
        forward_backward(*moved).posteriors.cpu(), forward_backward(*model).posteriors
    )
