"""Optimizers: the rules against their definitions and torch's, arrays of any form, groups, states, errors."""

from __future__ import annotations

import copy
import inspect
import itertools
import re
import warnings
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import fastnn
from fastnn import nn, optim
from fastnn._core.files import save_weights
from fastnn._core.typing import Array
from fastnn.reference import optim as reference
from support.cases import each
from support.interrupts import leaves_undone_or_done
from support.optimizers import CASES, PENALTIES, VARIANTS, Options

CASE = each(("name", "options"), CASES)
RULE = pytest.mark.parametrize("name", VARIANTS)
FULL = each("dtype", [np.float32, np.float64])

# Odd sizes, nothing, one number, more than a vector.
SHAPES: list[tuple[int, ...]] = [(3, 5), (0,), (), (17,), (4, 0), (2, 3, 7), (19, 37), (1,)]
SHARED = (129, 257)  # what several threads share


def draws(shape: tuple[int, ...], seed: int) -> Array:
    return np.asarray(np.random.default_rng(seed).standard_normal(shape))


def make(name: str, params: Any, **options: Any) -> optim.Optimizer:
    made: optim.Optimizer = getattr(optim, name)(params, **({"lr": 0.05} | options))
    return made


def parameters(dtype: Any = np.float64, shapes: Any = SHAPES) -> list[nn.Parameter]:
    return [nn.Parameter(draws(shape, i).astype(dtype)) for i, shape in enumerate(shapes)]


def give_gradients(params: list[nn.Parameter], step: int) -> None:
    for i, p in enumerate(params):
        p.grad = draws(p.data.shape, 100 * step + i).astype(p.data.dtype)


def train(optimizer: optim.Optimizer, params: list[nn.Parameter], steps: range) -> None:
    for step in steps:
        give_gradients(params, step)
        optimizer.step()


def same(some: list[nn.Parameter], others: list[nn.Parameter]) -> bool:
    return all(a.data.tobytes() == b.data.tobytes() for a, b in zip(some, others, strict=True))


# ---- the rules ---------------------------------------------------------------------------------------------


@CASE
@FULL
def test_a_rule_is_its_definition(name: str, options: Options, dtype: Any) -> None:
    check_rule(name, options, parameters(dtype))


def check_rule(name: str, options: Options, params: list[nn.Parameter]) -> None:
    dtype = params[0].data.dtype
    optimizer = make(name, params, **options)
    expected = [p.data.astype(np.float64) for p in params]
    states: list[dict[str, Any]] = [{} for _ in params]
    for t in range(1, 8):
        give_gradients(params, t)
        for i, p in enumerate(params):
            assert p.grad is not None
            g = p.grad.astype(np.float64)
            expected[i] = reference.step(name, expected[i], g, states[i], t, optimizer.param_groups[0])
        optimizer.step()
    # Absolute, for a step may cancel its parameter. In centered RMSprop's variance two large terms cancel.
    tolerance = 1e-14 if dtype == np.float64 else 2e-5 if options.get("centered") else 4e-6
    for p, value in zip(params, expected, strict=True):
        assert p.data.dtype == dtype
        np.testing.assert_allclose(p.data, value, rtol=0, atol=tolerance)


@each(("name", "options"), [case for case in CASES if case[0] not in ("Lion", "LARS", "LAMB")])
def test_a_rule_is_torch_s(name: str, options: Options) -> None:
    torch = pytest.importorskip("torch")
    shared = {key: value for key, value in options.items() if key not in ("l1", "l2", "max_norm")}
    params = parameters()
    theirs = [torch.nn.Parameter(torch.from_numpy(p.data.copy())) for p in params]
    optimizer = make(name, params, **shared)
    peer = getattr(torch.optim, name)(theirs, **{"lr": 0.05, **shared})
    for t in range(1, 8):
        give_gradients(params, t)
        for p, q in zip(params, theirs, strict=True):
            q.grad = torch.from_numpy(np.asarray(p.grad).copy())
        optimizer.step()
        peer.step()
    tolerance = 2e-9 if name == "NAdam" else 1e-13  # torch keeps NAdam's mu_product in float32
    for p, q in zip(params, theirs, strict=True):
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name not in ("Lion", "LARS", "LAMB")])
def test_defaults_are_torch_s(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours = getattr(optim, name)([nn.Parameter(np.zeros(1))]).defaults
    theirs = getattr(torch.optim, name)([torch.nn.Parameter(torch.zeros(1))]).defaults
    shared = ours.keys() & theirs.keys()
    assert len(shared) >= 4
    assert {key: ours[key] for key in shared} == {key: theirs[key] for key in shared}
    assert ours.keys() - shared == {"l1", "l2", "max_norm"}
    assert theirs.keys() - shared <= {"foreach", "fused", "differentiable", "capturable"}


@RULE
@FULL
def test_every_instruction_set_gives_the_rule(name: str, dtype: Any, isa: str) -> None:
    check_rule(name, {**VARIANTS[name][-1], **PENALTIES[-1]}, parameters(dtype, [*SHAPES, SHARED]))


@RULE
@FULL
def test_threads_do_not_change_a_bit(name: str, dtype: Any, threads: None) -> None:
    shapes = [(3,), (41000,), (7, 5), (300, 170), (0,), (20011,)]
    results = []
    for count in (1, 2, 3):
        fastnn.set_num_threads(count)
        params = parameters(dtype, shapes)
        train(make(name, params, l1=0.01, max_norm=3.0), params, range(2))
        results.append(params)
    assert same(results[0], results[1])
    assert same(results[0], results[2])


@RULE
@each("bad", [np.nan, np.inf, -np.inf])
def test_bad_gradients_stay_where_they_are(name: str, bad: float) -> None:
    params = [nn.Parameter(np.ones(20)), nn.Parameter(np.ones(20))]
    optimizer = make(name, params)
    give_gradients(params, 1)
    params[0].grad = np.asarray(params[1].grad).copy()
    params[0].grad[3] = bad
    for _ in range(3):
        optimizer.step()
    others = np.arange(20) != 3
    np.testing.assert_array_equal(params[0].data[others], params[1].data[others])
    if name != "Lion" or np.isnan(bad):
        assert not np.isfinite(params[0].data[3])


@each("adapt_vectors", [False, True])
def test_lars_and_lamb_leave_vectors_out(adapt_vectors: bool) -> None:
    """Without trust ratio and weight decay LARS is SGD for a constant rate, and LAMB is Adam."""
    for name, peer, options in (
        ("LARS", "SGD", {"momentum": 0.9}),
        ("LAMB", "Adam", {"eps": 1e-6, "betas": (0.8, 0.9)}),
    ):
        params, others = parameters(), parameters()
        decayed = {"weight_decay": 0.1, "adapt_vectors": adapt_vectors}
        optimizer = make(name, params, l2=0.01, max_norm=2.0, **options, **decayed)
        train(optimizer, params, range(3))
        train(make(peer, others, l2=0.01, max_norm=2.0, **options), others, range(3))
        for p, q in zip(params, others, strict=True):
            if p.data.ndim < 2 and not adapt_vectors:
                np.testing.assert_allclose(p.data, q.data, rtol=0, atol=1e-15)
            elif p.data.size:
                assert np.abs(p.data - q.data).max() > 1e-3


@each("name", ["LARS", "LAMB"])
def test_groups_adapt_vectors_or_not(name: str) -> None:
    params, alone = parameters(shapes=[(4,), (4,), (3, 4)]), parameters(shapes=[(4,), (4,), (3, 4)])
    groups = [{"params": params[:1], "adapt_vectors": True}, {"params": params[1:]}]
    optimizer = make(name, groups, weight_decay=0.1)
    train(optimizer, params, range(2))
    separate = [
        make(name, [p], weight_decay=0.1, adapt_vectors=adapt)
        for p, adapt in zip(alone, (True, False, True), strict=True)
    ]
    for step in range(2):
        give_gradients(alone, step)
        for each_one in separate:
            each_one.step()
    assert same(params, alone)
    saved = optimizer.state_dict()
    assert [group["adapt_vectors"] for group in saved["param_groups"]] == [True, False]
    for group in saved["param_groups"]:
        del group["adapt_vectors"]  # as a state of another implementation: each group keeps its own
    optimizer.load_state_dict(saved)
    assert [group["adapt_vectors"] for group in optimizer.param_groups] == [True, False]
    with pytest.raises(ValueError, match="adapt_vectors must be True or False, got 'no'"):
        make(name, params, adapt_vectors="no")


def test_an_infinite_weight_is_not_made_nan_by_penalties_that_are_off() -> None:
    p = nn.Parameter(np.array([np.inf, 1.0]))
    p.grad = np.ones(2)
    make("SGD", [p], l1=0.1).step()
    np.testing.assert_array_equal(p.data, [np.inf, 1 - 0.05 * 1.1])


# ---- arrays ------------------------------------------------------------------------------------------------


@RULE
@each("form", ["fortran", "strided", "reversed", "swapped", "gradient", "misaligned"])
def test_arrays_of_any_form(name: str, form: str) -> None:
    values = draws((6, 5), 0)
    plain, odd = nn.Parameter(values.copy()), nn.Parameter(values.copy())
    if form == "fortran":
        odd.data = np.asfortranarray(values)
    elif form == "strided":
        odd.data = np.repeat(values, 2, axis=1)[:, ::2]
    elif form == "reversed":
        odd.data = np.ascontiguousarray(values[::-1])[::-1]
    elif form == "swapped":
        odd.data = values.astype(">f8")
    elif form == "misaligned":
        odd.data = (
            np.frombuffer(bytearray(b"x" + values.tobytes()), np.uint8)[1:].view(np.float64).reshape(6, 5)
        )
    data, strides = odd.data, odd.data.strides
    optimizers = [make(name, [p], l1=0.01, max_norm=1.0) for p in (plain, odd)]
    for step in range(3):
        plain.grad = draws((6, 5), step + 1)
        odd.grad = np.asfortranarray(plain.grad) if form == "gradient" else plain.grad.astype(data.dtype)
        for optimizer in optimizers:
            optimizer.step()
    assert odd.data is data
    assert data.strides == strides
    np.testing.assert_array_equal(data, plain.data)


@each("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_types_are_computed_in_float32(dtype: Any) -> None:
    p = nn.Parameter(draws((9,), 0).astype(dtype))
    q = nn.Parameter(p.data.astype(np.float32))
    p.grad = draws((9,), 1).astype(dtype)
    q.grad = p.grad.astype(np.float32)
    optimizer = make("Adam", [p, q])
    optimizer.step()
    assert p.data.dtype == dtype
    np.testing.assert_array_equal(p.data, q.data.astype(dtype))
    assert optimizer.state[p]["exp_avg"].dtype == np.float32


def test_a_gradient_that_shares_memory_with_its_parameter() -> None:
    memory = draws((12,), 0)
    p, q = nn.Parameter(memory[:10]), nn.Parameter(memory[:10].copy())
    p.grad, q.grad = memory[2:], memory[2:].copy()
    for parameter in (p, q):
        make("SGD", [parameter]).step()
    np.testing.assert_array_equal(p.data, q.data)


def test_dtypes_may_differ_within_a_group() -> None:
    params = [*parameters(np.float32), *parameters(np.float64)]
    alone = [*parameters(np.float32), *parameters(np.float64)]
    train(make("Adam", params), params, range(2))
    for i, p in enumerate(alone):
        optimizer = make("Adam", [p])
        for step in range(2):
            p.grad = draws(p.data.shape, 100 * step + i).astype(p.data.dtype)
            optimizer.step()
    assert same(params, alone)


# ---- which parameters --------------------------------------------------------------------------------------


@RULE
def test_what_has_no_gradient_or_is_frozen_stays(name: str) -> None:
    params = parameters(shapes=[(3,), (3,), (3,)])
    give_gradients(params, 1)
    params[0].grad = None
    params[1].requires_grad = False
    before = [p.data.copy() for p in params]
    optimizer = make(name, params, weight_decay=0.1)
    optimizer.step()
    np.testing.assert_array_equal(params[0].data, before[0])
    np.testing.assert_array_equal(params[1].data, before[1])
    assert (params[2].data != before[2]).all()
    assert list(optimizer.state) == [params[2]]


@RULE
def test_parameters_count_their_own_steps(name: str) -> None:
    early, late = parameters(shapes=[(5,), (5,)])
    late.data[...] = early.data
    optimizer = make(name, [early, late])
    for step in range(4):
        early.grad = draws((5,), step)
        late.grad = draws((5,), step - 2) if step >= 2 else None
        optimizer.step()
        if step == 1:
            expected = early.data.copy()
    np.testing.assert_array_equal(late.data, expected)


def test_groups_have_their_own_options() -> None:
    params, alone = parameters(shapes=[(4, 3), (4,)]), parameters(shapes=[(4, 3), (4,)])
    optimizer = optim.AdamW(
        [{"params": params[:1], "lr": 0.5}, {"params": params[1], "weight_decay": 0.0}], lr=0.1
    )
    separate = [optim.AdamW(alone[:1], lr=0.5), optim.AdamW(alone[1:], lr=0.1, weight_decay=0.0)]
    for step in range(3):
        give_gradients(params, step)
        give_gradients(alone, step)
        for one in (optimizer, *separate):
            one.step()
    assert same(params, alone)
    optimizer.add_param_group({"params": parameters(shapes=[(2,)]), "name": "head"})
    assert optimizer.param_groups[2]["lr"] == 0.1
    assert optimizer.param_groups[2]["name"] == "head"


def test_options_can_change_between_steps() -> None:
    p = nn.Parameter(np.zeros(1))
    optimizer = optim.SGD([p], lr=1.0)
    for lr in (1.0, 0.1):
        optimizer.param_groups[0]["lr"] = lr
        p.grad = np.ones(1)
        optimizer.step()
    np.testing.assert_allclose(p.data, [-1.1])
    optimizer.param_groups[0]["momentum"] = 0.5
    optimizer.step()
    optimizer.step()
    np.testing.assert_allclose(p.data, [-1.1 - 0.1 - 0.15])


def bits(state: Any) -> Any:
    """A state, its arrays as bytes, so that == compares all of it."""
    if isinstance(state, dict):
        return {key: bits(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [bits(value) for value in state]
    return state.tobytes() if isinstance(state, np.ndarray) else state


def resting(name: str, options: Options, steps: int) -> tuple[optim.Optimizer, list[nn.Parameter]]:
    """An optimizer of two groups, after these steps, with the gradients of the next."""
    params = [nn.Parameter(draws((3, 4), i).astype(dtype)) for i, dtype in enumerate(("f4", "f8", "f2"))]
    groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.01}]
    optimizer = make(name, groups, max_norm=3.0, **options)
    train(optimizer, params, range(steps))
    give_gradients(params, steps)
    return optimizer, params


@each("name", ["SGD", "NAdam", "LAMB"])
def test_an_interrupt_leaves_a_step_undone_or_done(name: str) -> None:
    lines = leaves_undone_or_done(
        lambda: resting(name, VARIANTS[name][-1], 1),
        lambda made: made[0].step(),
        lambda made: bits([made[0].state_dict(), [p.data for p in made[1]]]),
        every=23,
    )
    assert lines > 60


def test_an_interrupt_leaves_averages_undone_or_done() -> None:
    def make_average() -> optim.ExponentialMovingAverage:
        params = [nn.Parameter(draws((3, 4), i).astype(dtype)) for i, dtype in enumerate(("f4", "f8", "f2"))]
        average = optim.ExponentialMovingAverage(params, warm_up=True)
        for p in params:
            p.data += 1
        return average

    def look(average: optim.ExponentialMovingAverage) -> Any:
        weights = [p.data for p in average._params]
        return bits([average.state_dict(), weights, average._weights is None])

    state = make_average().state_dict() | {"updates": 3, "decay": 0.5}
    state["averages"] = [average + 7 for average in state["averages"]]
    for act in (
        lambda average: average.update(),
        lambda average: average.apply(),
        lambda average: average.load_state_dict(state),
    ):
        assert leaves_undone_or_done(make_average, act, look, every=5) >= 10


def test_floating_point_errors_do_not_stop_a_step_halfway() -> None:
    for dtype in (np.float16, ml_dtypes.bfloat16):
        params = [nn.Parameter(np.full(3, value).astype(dtype)) for value in (6e4, 1e-7, 1)]
        for p in params:
            p.grad = np.full(3, -1).astype(dtype)
        optimizer = make("SGD", params, lr=3e4, momentum=0.9)
        with np.errstate(all="raise"), warnings.catch_warnings():
            warnings.simplefilter("error")
            optimizer.step()
        assert [optimizer.state[p]["step"] for p in params] == [1, 1, 1]
        assert all(p.data[0] > 2e4 for p in params)


def test_zero_grad_and_closure() -> None:
    p, q = parameters(shapes=[(2,), (2,)])
    p.grad = np.ones(2)
    optimizer = optim.SGD([p, q], lr=0.1)
    optimizer.zero_grad(set_to_none=False)
    np.testing.assert_array_equal(p.grad, [0, 0])
    assert q.grad is None
    optimizer.zero_grad()
    assert p.grad is None

    def closure() -> float:
        p.grad = np.ones(2)
        return 1.25

    before = p.data.copy()
    assert optimizer.step(closure) == 1.25
    np.testing.assert_allclose(p.data, before - 0.1)
    assert optimizer.step() is None


# ---- max-norm ----------------------------------------------------------------------------------------------


@FULL
def test_max_norm_limits_the_rows_of_matrices(dtype: Any, isa: str) -> None:
    params = [nn.Parameter(draws(shape, 3).astype(dtype)) for shape in [(40, 1000), (8, 3, 5), (50,), (3, 0)]]
    before = [p.data.astype(np.float64) for p in params]
    give_gradients(params, 0)
    make("SGD", params, lr=0.0, max_norm=4.0).step()
    for p, value in zip(params, before, strict=True):
        np.testing.assert_allclose(p.data, reference.limit_rows(value, 4.0), rtol=1e-6)
    np.testing.assert_array_equal(params[2].data, before[2])
    norms = np.linalg.norm(params[1].data.reshape(8, -1), axis=1)
    assert (norms < 4.0 * (1 + 1e-6)).all()
    huge = nn.Parameter(np.array([[3.0, -4.0], [3.0, 4.0]]) * [[1e300], [1]])  # whose squares overflow
    huge.grad = np.zeros((2, 2))
    make("SGD", [huge], lr=0.0, max_norm=10.0).step()
    np.testing.assert_allclose(huge.data, [[6, -8], [3, 4]], rtol=1e-14)
    assert (norms > 3.99).any()
    assert (norms < 3.99).any()


# ---- states ------------------------------------------------------------------------------------------------


@CASE
def test_a_loaded_state_goes_on_bitwise(name: str, options: Options) -> None:
    params = parameters(np.float32)
    optimizer = make(name, params, **options)
    train(optimizer, params, range(3))
    saved = optimizer.state_dict()
    others = [nn.Parameter(p.data.copy()) for p in params]
    other = make(name, others, lr=7.0)
    other.load_state_dict(copy.deepcopy(saved))
    train(optimizer, params, range(3, 6))
    train(other, others, range(3, 6))
    assert same(params, others)
    assert saved["state"][0]["step"] == 3  # a copy: it has not moved


def test_the_form_of_a_state_dict() -> None:
    params = parameters(shapes=[(2,), (3,), (4,)])
    optimizer = optim.Adam([{"params": params[:2]}, {"params": params[2:], "lr": 0.5}])
    give_gradients(params, 0)
    params[0].grad = None
    optimizer.step()
    saved = optimizer.state_dict()
    assert [group["params"] for group in saved["param_groups"]] == [[0, 1], [2]]
    assert saved["param_groups"][1]["lr"] == 0.5
    assert {index: list(state) for index, state in saved["state"].items()} == {
        1: ["step", "exp_avg", "exp_avg_sq"],
        2: ["step", "exp_avg", "exp_avg_sq"],
    }


def test_a_state_of_torch_s_goes_on() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Parameter(torch.ones(3, dtype=torch.float64))
    ours = nn.Parameter(np.ones(3))
    torch_optimizer, optimizer = torch.optim.Adam([theirs], 0.1), optim.Adam([ours], 0.1)
    theirs.grad = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    torch_optimizer.step()
    ours.data[:] = theirs.detach()
    optimizer.load_state_dict(torch_optimizer.state_dict())
    ours.grad = np.array([-1.0, 0.5, 2.0])
    theirs.grad = torch.tensor(ours.grad)
    torch_optimizer.step()
    optimizer.step()
    np.testing.assert_allclose(ours.data, theirs.detach(), rtol=1e-14)


def test_states_that_do_not_fit_change_nothing() -> None:
    params = parameters(shapes=[(2,), (3,)])
    optimizer = optim.Adam(params)
    train(optimizer, params, range(1))
    good = optimizer.state_dict()

    def refused(message: str, change: Any) -> None:
        bad = copy.deepcopy(good)
        change(bad)
        before = repr(optimizer.state_dict())
        with pytest.raises(ValueError, match=re.escape(message)):
            optimizer.load_state_dict(bad)
        assert repr(optimizer.state_dict()) == before

    refused("2 parameter groups, the optimizer 1", lambda d: d["param_groups"].append({"params": []}))
    refused("1 parameters in group 0, the optimizer 2", lambda d: d["param_groups"][0]["params"].pop())
    refused("parameter 1 lacks 'exp_avg'", lambda d: d["state"][1].pop("exp_avg"))
    refused("'exp_avg' of parameter 1 has shape (5,)", lambda d: d["state"][1].update(exp_avg=np.zeros(5)))
    refused("'exp_avg' of parameter 1 has shape (5,)", lambda d: d["state"][1].update(exp_avg=[0.0] * 5))
    refused("'exp_avg' of parameter 1 has shape ()", lambda d: d["state"][1].update(exp_avg=None))
    refused("'step' of parameter 1 must be a number, got 'x'", lambda d: d["state"][1].update(step="x"))
    refused(
        "param_groups[0]: lr must be a finite number of at least 0, got -1",
        lambda d: d["param_groups"][0].update(lr=-1),
    )
    refused("a state of parameter 9", lambda d: d["state"].update({9: {}}))
    refused("a dict with 'state' and 'param_groups'", lambda d: d.clear())


# ---- errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"grad": np.zeros(3, np.float32)}, TypeError, "[1].grad must have the dtype of"),
        ({"grad": np.zeros(4)}, ValueError, "[1].grad must have the shape of"),
        ({"grad": [0.0, 0.0, 0.0]}, TypeError, "[1].grad must be an array of float16"),
        ({"data": np.zeros(3, int)}, TypeError, "[1].data must be an array of float16"),
        (
            {"data": np.zeros(4), "grad": np.zeros(4)},
            ValueError,
            "must have the shape (3,) and computing dtype",
        ),
    ],
)
def test_bad_arrays_are_named_and_nothing_changes(change: Options, error: Any, message: str) -> None:
    params = parameters(shapes=[(3,), (3,), (3,)])
    optimizer = optim.Adam([{"params": params[:1]}, {"params": params[1:]}])
    train(optimizer, params, range(1))
    for name, value in change.items():
        setattr(params[2], name, value)
    before, state = [p.data.copy() for p in params], repr(optimizer.state)
    with pytest.raises(error, match=re.escape("param_groups[1]['params']") + ".*" + re.escape(message)):
        optimizer.step()
    for p, value in zip(params, before, strict=True):
        np.testing.assert_array_equal(p.data, value)
    assert repr(optimizer.state) == state


def test_read_only_data_is_refused() -> None:
    p = nn.Parameter(np.zeros(3))
    p.data.flags.writeable = False
    p.grad = np.zeros(3)
    with pytest.raises(
        ValueError, match=r"data must be writable, as it is updated in place, got a read-only array"
    ):
        optim.SGD([p]).step()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *itertools.product(["lr", "momentum", "weight_decay", "l1", "l2"], [-0.1, np.nan, np.inf, "x"]),
        ("lr", 10**400),
        ("max_norm", 0.0),
        ("dampening", np.nan),
        ("nesterov", np.array([1, 0])),
        ("maximize", "yes"),
    ],
)
def test_bad_numbers_are_named(name: str, value: Any) -> None:
    for kind in ("optimizer", "group"):
        params: Any = [nn.Parameter(np.zeros(1))]
        options = {name: value}
        if kind == "group":
            params, options = [{"params": params, **options}], {}
        with pytest.raises(ValueError, match=f"{name} must be .*, got {re.escape(repr(value))}"):
            optim.SGD(params, **options)


def test_bad_options_are_reported() -> None:
    params = [nn.Parameter(np.zeros(1))]
    with pytest.raises(ValueError, match=r"betas must be two numbers in \[0, 1\), got \(0.9, 1.0\)"):
        optim.Adam(params, betas=(0.9, 1.0))
    with pytest.raises(ValueError, match=r"rho must be a number in \[0, 1\], got 1\.5"):
        optim.Adadelta(params, rho=1.5)
    with pytest.raises(ValueError, match="momentum must be above 0 and dampening 0 with nesterov, got"):
        optim.SGD(params, nesterov=True)
    with pytest.raises(TypeError, match="Adam takes no argument 'gamma'"):
        optim.Adam(params, gamma=0.1)  # type: ignore[call-arg]


@RULE
def test_torch_s_choices_of_an_implementation_have_no_effect(name: str) -> None:
    def stepped(**options: Any) -> Array:
        p = nn.Parameter(np.arange(4.0))
        p.grad = np.ones(4)
        optimizer = getattr(optim, name)([p], lr=0.5, **options)
        assert not {"foreach", "fused"} & optimizer.param_groups[0].keys()
        optimizer.step()
        return p.data

    taken = {"foreach": True, "fused": None, "capturable": False, "differentiable": False}
    np.testing.assert_array_equal(stepped(**taken), stepped())
    for wrong, message in (
        ({"fused": 1}, "fused must be True, False or None, got 1"),
        ({"differentiable": True}, "differentiable must be False"),
    ):
        with pytest.raises(ValueError, match=message):
            stepped(**wrong)


def test_numbers_can_be_arrays_without_axes() -> None:
    def stepped(lr: Any, later: Any, betas: Any) -> Array:
        p = nn.Parameter(np.arange(4.0))
        optimizer = optim.Adam([{"params": p, "lr": lr}], betas=betas)
        assert isinstance(optimizer.param_groups[0]["lr"], float)
        for _ in range(2):
            p.grad = np.ones(4)
            optimizer.step()
            optimizer.param_groups[0]["lr"] = later
        return p.data

    one = np.array
    expected = stepped(0.5, 0.25, (0.8, 0.9))
    np.testing.assert_array_equal(stepped(one(0.5), one(0.25), (one(0.8), 0.9)), expected)
    with pytest.raises(ValueError, match=r"lr must be a finite number of at least 0, got -1\.0"):
        optim.SGD([nn.Parameter(np.zeros(1))], lr=one(-1.0))  # type: ignore[arg-type]


def test_parameters_with_names() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    groups: list[Any] = [{"params": model[0].named_parameters()}, {"params": model[1].parameters()}]
    for optimizer, names in (
        (optim.SGD(model.named_parameters()), ["0.weight", "0.bias", "1.weight", "1.bias"]),
        (optim.SGD(groups), ["weight", "bias"]),
    ):
        assert optimizer.param_groups[0]["param_names"] == names
        assert [p for group in optimizer.param_groups for p in group["params"]] == list(model.parameters())
        optimizer.load_state_dict(optimizer.state_dict())
    mixed: list[Any] = [*model[0].named_parameters()][:1] + [*model[0].parameters()][1:]
    with pytest.raises(TypeError, match=r"params\[1\] must have a name, as the others do, got Parameter"):
        optim.SGD(mixed)


def test_bad_parameter_lists_are_reported() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(
        TypeError, match=r"params must be parameters, as model.parameters\(\) gives, got Linear"
    ):
        optim.SGD(model, lr=0.1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"params\[0\] must be an nn.Parameter, got ndarray"):
        optim.SGD([np.zeros(2)], lr=0.1)  # type: ignore[list-item]
    with pytest.raises(ValueError, match="params must be at least one parameter, got none"):
        optim.SGD(nn.ReLU().parameters(), lr=0.1)
    with pytest.raises(ValueError, match="params must be distinct parameters, got one of them twice"):
        optim.SGD([{"params": [model.weight]}, {"params": [model.weight]}], lr=0.1)
    with pytest.raises(TypeError, match="params must be a list, got a set"):
        optim.SGD([{"params": {model.weight}}], lr=0.1)
    with pytest.raises(TypeError, match="a dict with 'params' in it"):
        optim.SGD(model.parameters()).add_param_group({"lr": 0.1})


# ---- averages of weights -----------------------------------------------------------------------------------


@FULL
@pytest.mark.parametrize("warm_up", [False, True])
def test_the_average_of_weights(dtype: Any, warm_up: bool, isa: str) -> None:
    params = parameters(dtype)
    average = optim.ExponentialMovingAverage(params, 0.7, warm_up=warm_up)
    expected = [p.data.astype(np.float64) for p in params]
    for t in range(1, 5):
        for i, p in enumerate(params):
            p.data[...] = draws(p.data.shape, 10 * t + i)
            decay = min(0.7, (1 + t) / (10 + t)) if warm_up else 0.7
            expected[i] = decay * expected[i] + (1 - decay) * p.data.astype(np.float64)
        average.update()
    for ours, value in zip(average.averages, expected, strict=True):
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, value, rtol=0, atol=1e-6 if dtype == np.float32 else 1e-15)


def test_averages_are_applied_and_taken_away() -> None:
    params = parameters()
    average = optim.ExponentialMovingAverage(params, 0.5)
    for p in params:
        p.data += 1
    average.update()
    weights, arrays = [p.data.copy() for p in params], [p.data for p in params]
    with average.applied():
        for p, array, ours in zip(params, arrays, average.averages, strict=True):
            assert p.data is array
            np.testing.assert_array_equal(p.data, ours)
        with pytest.raises(RuntimeError, match="call restore before update"):
            average.update()
        with pytest.raises(RuntimeError, match="applied already"):
            average.apply()
    for p, value in zip(params, weights, strict=True):
        np.testing.assert_array_equal(p.data, value)
    with pytest.raises(RuntimeError, match="not applied"):
        average.restore()


def test_averages_beyond_the_dtype_are_infinite_without_a_warning() -> None:
    wide, half = (
        nn.Parameter(np.full(2, np.longdouble("1e400"))),
        nn.Parameter(np.full(2, 60_000, np.float16)),
    )
    average = optim.ExponentialMovingAverage([wide, half])
    np.testing.assert_array_equal(average.averages[0], np.inf)
    average.averages[1][:] = 1e6
    average.apply()
    np.testing.assert_array_equal(half.data, np.inf)


def test_an_average_s_state_goes_on_bitwise() -> None:
    params = parameters(np.float32)
    average = optim.ExponentialMovingAverage(params, 0.9, warm_up=True)
    params[0].data += 1
    average.update()
    saved = average.state_dict()
    other = optim.ExponentialMovingAverage(params, 0.1)
    other.load_state_dict(saved)
    params[0].data += 1
    average.update()
    other.update()
    for a, b in zip(average.averages, other.averages, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (saved["averages"][0] != average.averages[0]).all()
    with pytest.raises(ValueError, match="state_dict has averages of shapes"):
        other.load_state_dict({**saved, "averages": saved["averages"][1:]})
    with pytest.raises(ValueError, match=r"state_dict must have what state_dict\(\) gives"):
        other.load_state_dict({})
    with pytest.raises(ValueError, match=r"decay must be a number in \[0, 1\], got 1\.5"):
        optim.ExponentialMovingAverage(params, 1.5)
    with pytest.raises(TypeError, match=r"params\[0\] must be an nn.Parameter, got ndarray"):
        optim.ExponentialMovingAverage([np.zeros(2)])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"params\[0\].data must be of real numbers, got complex128"):
        optim.ExponentialMovingAverage([nn.Parameter(np.zeros(2, complex))])
    with pytest.raises(TypeError, match=r"params must be parameters, as .* gives, got Parameter"):
        optim.ExponentialMovingAverage(params[0])  # type: ignore[arg-type]


def test_the_equal_average_of_weights() -> None:
    params = parameters(np.float32)
    for p in params:
        p.data[...] = 1e9  # a + (p - a) is not p then
    average = optim.StochasticWeightAverage(params)
    seen = []
    for t in range(6):
        for i, p in enumerate(params):
            p.data[...] = draws(p.data.shape, 10 * t + i)
        seen.append([p.data.copy() for p in params])
        average.update()
        for ours, values in zip(average.averages, zip(*seen, strict=True), strict=True):
            np.testing.assert_allclose(ours, np.mean(values, axis=0), rtol=1e-5, atol=1e-7)
            if t == 0:
                np.testing.assert_array_equal(ours, values[0])
    saved = average.state_dict()
    assert saved.keys() == {"updates", "averages"}
    other = optim.StochasticWeightAverage(parameters(np.float32))
    other.load_state_dict(saved)
    assert other.updates == 6
    with pytest.raises(ValueError, match=r"state_dict must have what state_dict\(\) gives"):
        optim.ExponentialMovingAverage(params).load_state_dict(saved)


def test_the_average_of_saved_states(tmp_path: Path) -> None:
    models = [nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)) for _ in range(3)]
    for index, model in enumerate(models):
        model[1].num_batches_tracked[...] = 7 * index
        model[1].running_mean[...] = index
    states: list[Any] = [model.state_dict() for model in models]
    states[1] = {name: array.astype(array.dtype.newbyteorder()) for name, array in states[1].items()}
    mean = optim.average_weights(states)
    assert mean["1.num_batches_tracked"] == 14
    np.testing.assert_array_equal(mean["1.running_mean"], [1, 1])
    weights = np.mean([state["0.weight"] for state in states], axis=0, dtype=np.float64)
    np.testing.assert_array_equal(mean["0.weight"], weights.astype(np.float32))
    models[0].load_state_dict(mean)
    half = optim.average_weights([{"w": np.array([6e4], np.float16)}] * 3)["w"]
    assert half.dtype == np.float16
    assert half[0] == np.float16(6e4)
    pytest.importorskip("safetensors")
    save_weights(tmp_path / "a.safetensors", states[2], {})
    files = optim.average_weights([states[0], states[1], tmp_path / "a.safetensors"])
    for name, array in files.items():
        np.testing.assert_array_equal(array, mean[name])
    bad = {**states[0], "more": np.zeros(2)}
    refused: list[tuple[list[Any], str]] = [
        ([], "states must be at least one state, got none"),
        ([states[0], bad], r"states\[1\] must have the names of the first .* unknown names \['more'\]"),
        ([bad, tmp_path / "a.safetensors"], r"a.safetensors must have .* missing names \['more'\]"),
        (
            [states[0], {**states[0], "0.bias": np.zeros(3)}],
            r"states\[1\]\['0.bias'\] must have the shape of the first state's, \(2,\), got \(3,\)",
        ),
        (
            [{"w": np.array([1])}, {"w": np.array([1.5])}],
            "of the first state's kind, int64, got float64",
        ),
        ([{"w": np.array([1j])}], r"states\[0\]\['w'\] must have real numbers .* got complex128"),
    ]
    for wrong, message in refused:
        with pytest.raises(ValueError, match=message):
            optim.average_weights(wrong)
    with pytest.raises(TypeError, match="states must be a list of dicts or files, got one, dict"):
        optim.average_weights(states[0])


# ---- clipping ----------------------------------------------------------------------------------------------


@FULL
@pytest.mark.parametrize("norm_type", [1, 2, 3.5, np.inf])
@pytest.mark.parametrize("max_norm", [0.0, 2.5, 1e6])
def test_clipping_by_norm(dtype: Any, norm_type: float, max_norm: float, isa: str) -> None:
    params = parameters(dtype)
    give_gradients(params, 1)
    params[2].grad = None
    before = [None if p.grad is None else p.grad.astype(np.float64) for p in params]
    values = np.concatenate([g.ravel() for g in before if g is not None])
    expected = float(np.linalg.norm(values, norm_type))
    norm = nn.utils.clip_grad_norm_(iter(params), max_norm, norm_type)
    assert norm == pytest.approx(expected, rel=1e-12)
    factor = min(1.0, max_norm / (expected + 1e-6))
    for p, g in zip(params, before, strict=True):
        if g is None or p.grad is None:
            assert g is p.grad
        elif factor == 1:
            np.testing.assert_array_equal(p.grad, g)
        else:
            np.testing.assert_allclose(p.grad, factor * g, rtol=1e-6 if dtype == np.float32 else 1e-14)


@each("bad", [np.nan, np.inf])
@pytest.mark.parametrize("norm_type", [1.0, 2.0, np.inf])
def test_clipping_of_bad_gradients_is_torch_s(bad: float, norm_type: float) -> None:
    grads = [draws((40,), 0).astype(np.float32), draws((3,), 1).astype(np.float32)]
    grads[0][[5, 30]] = bad, 7.0
    params = [nn.Parameter(np.zeros_like(g)) for g in grads]
    for p, g in zip(params, grads, strict=True):
        p.grad = g.copy()
    with pytest.raises(RuntimeError, match=f"norm of order {norm_type} is {bad}"):
        nn.utils.clip_grad_norm_(params, 1.0, norm_type, error_if_nonfinite=True)
    np.testing.assert_array_equal(params[1].grad, grads[1])
    np.testing.assert_equal(nn.utils.clip_grad_norm_(params, 1.0, norm_type), bad)
    factor = 1.0 / bad
    for p, g in zip(params, grads, strict=True):
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(p.grad, g * np.float32(factor))


def test_a_norm_beyond_the_range_of_float_s_squares() -> None:
    p = nn.Parameter(np.zeros(3, np.float32))
    for scale in (1e30, 1e-30):
        p.grad = np.array([3.0, 4.0, 0.0], np.float32) * np.float32(scale)
        assert nn.utils.clip_grad_norm_(p, 1e35) == pytest.approx(5 * scale, rel=1e-6)


@each("norm_type", [1.0, 2.0, 3.0])
def test_a_norm_whose_powers_overflow(norm_type: float) -> None:
    params = [nn.Parameter(np.zeros(2)) for _ in range(2)]
    grads = [np.array([3.0, -4.0]), np.array([0.0, 1.0])]
    for p, g in zip(params, grads, strict=True):
        p.grad = g * 1e300
    norm = nn.utils.clip_grad_norm_(params, 1.0, norm_type)
    expected = np.linalg.norm(np.concatenate(grads), norm_type)
    assert norm == pytest.approx(expected * 1e300, rel=1e-14)
    for p, g in zip(params, grads, strict=True):
        np.testing.assert_allclose(np.asarray(p.grad), g / expected, rtol=1e-14)
    params[0].grad = np.array([np.inf, 1.0])
    assert nn.utils.clip_grad_norm_(params, 1.0, norm_type) == np.inf


def test_clipping_does_not_depend_on_threads(threads: None) -> None:
    results = []
    for count in (1, 2, 3):
        fastnn.set_num_threads(count)
        params = parameters(np.float32, [(100003,), (7,), (0,), (501, 99)])
        give_gradients(params, 1)
        norm = nn.utils.clip_grad_norm_(params, 1.0)
        results.append((norm, [np.asarray(p.grad).tobytes() for p in params]))
    assert results[0] == results[1] == results[2]


@FULL
def test_clipping_by_value(dtype: Any, isa: str) -> None:
    p = nn.Parameter(np.zeros(19, dtype))
    p.grad = np.linspace(-3, 3, 19, dtype=dtype)
    p.grad[[2, 3, 4]] = np.nan, np.inf, -np.inf
    expected = np.clip(p.grad, -1.25, 1.25)
    nn.utils.clip_grad_value_([p], 1.25)
    np.testing.assert_array_equal(p.grad, expected)


def test_clipping_reaches_gradients_of_any_form() -> None:
    p = nn.Parameter(np.zeros((4, 4), np.float32))
    p.grad = np.ones((8, 8), np.float32)[::2, ::2]
    grad = p.grad
    assert nn.utils.clip_grad_norm_(p, 2.0) == 4.0
    np.testing.assert_allclose(grad, 0.5, rtol=1e-6)
    nn.utils.clip_grad_value_(p, 0.25)
    np.testing.assert_array_equal(grad, np.full((4, 4), 0.25))
    assert nn.utils.clip_grad_norm_([], 1.0) == 0.0


def test_bad_arguments_of_clipping_are_named() -> None:
    p = nn.Parameter(np.zeros(2))
    p.grad = np.zeros(2, int)
    not_parameters: Any = [np.zeros(2)]
    for call, error, message in (
        (lambda: nn.utils.clip_grad_norm_(p, -1.0), ValueError, "max_norm must be at least 0, got -1.0"),
        (
            lambda: nn.utils.clip_grad_norm_(p, 1.0, 0),
            ValueError,
            "norm_type must be above 0, .* got 0.0",
        ),
        (lambda: nn.utils.clip_grad_value_(p, np.nan), ValueError, "clip_value must be at least 0, got nan"),
        (
            lambda: nn.utils.clip_grad_value_(p, 1.0),
            TypeError,
            r"parameters\[0\].grad must be an array of .*, got int64",
        ),
        (
            lambda: nn.utils.clip_grad_norm_(not_parameters, 1.0),
            TypeError,
            r"parameters\[0\] must be an nn.Parameter, got ndarray",
        ),
    ):
        with pytest.raises(error, match=message):
            call()


# ---- the page ----------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "optim.md").read_text()


def test_the_page_s_examples_run() -> None:
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(code, names)
    assert names["average"].updates == 1


@RULE
def test_the_page_has_the_arguments(name: str) -> None:
    written = re.search(rf"^\| `{name}\((.*?)\)` \|", PAGE, re.M)
    assert written is not None
    page: Any = eval(f"lambda {written[1]}: None")
    ours = dict(inspect.signature(getattr(optim, name)).parameters)
    ours.pop("options")
    assert {p.name: (p.default, p.kind) for p in inspect.signature(page).parameters.values()} == {
        p.name: (p.default, p.kind) for p in ours.values()
    }
