"""SyncBatchNorm on ranks that are threads: batch norm's results on all rows, and what ranks add up."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastnn
from fastnn import nn, stages
from fastnn._core.typing import Array
from support.thread_ranks import ThreadRanks, on_each, thread_ranks

NEAR = {np.dtype(np.float32): 3e-6, np.dtype(np.float64): 2e-14}
UNEVEN = (4, 0, 1, 5)
SHAPES = [(10, 3), (10, 1), (10, 3, 7), (10, 3, 5, 4), (10, 2, 2, 3, 2)]
BOTH = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def batch(shape: tuple[int, ...], dtype: Any, seed: int = 0, mean: float = 3, deviation: float = 2) -> Array:
    return np.random.default_rng(seed).normal(mean, deviation, shape).astype(dtype)


def channels_last(x: Array) -> Array:
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)


def parts(x: Array, rows: tuple[int, ...]) -> list[Array]:
    """The rows of each rank."""
    return np.split(x, np.cumsum(rows)[:-1])


def norm(channels: int, dtype: Any, **options: Any) -> nn.SyncBatchNorm:
    layer = nn.SyncBatchNorm(channels, dtype=dtype, **options)
    for parameter, start in ((layer.weight, 0.75), (layer.bias, -0.5)):
        if parameter is not None:
            parameter.data[...] = start + 0.25 * np.arange(channels)
    return layer


def copies(model: Any, ranks: list[ThreadRanks]) -> list[Any]:
    """The model of each rank."""
    return [nn.SyncBatchNorm.convert(copy.deepcopy(model), rank) for rank in ranks]


def step(models: list[Any], ranks: list[ThreadRanks], x: list[Array], dy: list[Array]) -> tuple[Array, Array]:
    """y and dx of all rows, after a forward and a backward pass on each rank."""

    def both(rank: ThreadRanks) -> tuple[Array, Array]:
        model = models[rank.rank]
        return model(x[rank.rank]), model.backward(dy[rank.rank])

    done = on_each(ranks, both)
    for (y, dx), rows in zip(done, x, strict=True):
        assert y.shape == dx.shape == rows.shape
    return np.concatenate([y for y, _ in done]), np.concatenate([dx for _, dx in done])


def check_near(got: Array, expected: Array, dtype: Any, what: str = "") -> None:
    near = NEAR[np.dtype(dtype)]
    np.testing.assert_allclose(got, expected, near, near * np.max(np.abs(expected), initial=0), err_msg=what)


def check_alike(models: list[Any], whole: Any, dtype: Any) -> None:
    """Running statistics are the whole batch's on each rank, and gradients are its sums, a part on each."""
    for model in models:
        for name, buffer in whole.named_buffers():
            check_near(dict(model.named_buffers())[name], buffer, dtype, name)
        for own, first in zip(model.buffers(), models[0].buffers(), strict=True):
            np.testing.assert_array_equal(own, first)
    for name, parameter in whole.named_parameters():
        if parameter.grad is None:
            continue
        own = [dict(model.named_parameters())[name].grad for model in models]
        assert all(gradient.dtype == dtype for gradient in own)
        check_near(sum(gradient.astype(np.float64) for gradient in own), parameter.grad, dtype, name)


# ---- results -----------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("last", [False, True], ids=["usual", "last"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"eps": 1e-3, "momentum": None},
        {"affine": False},
        {"bias": False, "biased_running_var": True},
        {"track_running_stats": False},
    ],
    ids=str,
)
def test_results_are_those_of_all_rows(
    shape: tuple[int, ...], last: bool, options: dict[str, Any], dtype: Any
) -> None:
    whole, ranks = norm(shape[1], dtype, **options), thread_ranks(len(UNEVEN))
    models = copies(whole, ranks)
    for seed in range(2):
        x, dy = batch(shape, dtype, seed), batch(shape, dtype, seed + 10)
        x, dy = (channels_last(x), channels_last(dy)) if last else (x, dy)
        for model in (whole, *models):
            model.zero_grad()
        y, dx = step(models, ranks, parts(x, UNEVEN), parts(dy, UNEVEN))
        check_near(y, whole(x), dtype, "y")
        check_near(dx, whole.backward(dy), dtype, "dx")
        check_alike(models, whole, dtype)


@pytest.mark.parametrize("shape", [(300, 70), (24, 16, 32, 32)], ids=str)
@pytest.mark.parametrize("last", [False, True], ids=["usual", "last"])
def test_larger_arrays_agree_with_the_reference(shape: tuple[int, ...], last: bool) -> None:
    rows, ranks = (shape[0] // 4, shape[0] - shape[0] // 4), thread_ranks(2)
    x, dy = batch(shape, np.float32), batch(shape, np.float32, 1)
    x, dy = (channels_last(x), channels_last(dy)) if last else (x, dy)
    models = copies(norm(shape[1], np.float32), ranks)
    y, dx = step(models, ranks, parts(x, rows), parts(dy, rows))
    wide, weight = x.astype(np.float64), models[0].weight.data.astype(np.float64)
    centred = wide - wide.mean((0, *range(2, x.ndim)), keepdims=True)
    spread = np.sqrt((centred**2).mean((0, *range(2, x.ndim)), keepdims=True) + 1e-5)
    each = (1, -1, *[1] * (x.ndim - 2))
    xhat, g = centred / spread, dy.astype(np.float64)
    axes = (0, *range(2, x.ndim))
    check_near(y, xhat * weight.reshape(each) + models[0].bias.data.reshape(each), np.float32, "y")
    means = [part.mean(axes, keepdims=True) for part in (g, g * xhat)]
    check_near(dx, weight.reshape(each) / spread * (g - means[0] - xhat * means[1]), np.float32, "dx")


@BOTH
def test_a_large_mean_costs_no_digits_in_any_step(dtype: Any) -> None:
    """In the first steps running means are far: the ranks add up twice; later they do not."""
    shape, rows, ranks = (1000, 3), (300, 0, 1, 699), thread_ranks(4)
    models = copies(nn.SyncBatchNorm(3, eps=0.0, momentum=0.9, dtype=dtype), ranks)
    calls = []
    for seed in range(10):
        x = batch(shape, dtype, seed, 1e6, 0.1)
        before = ranks[0].calls
        y, _ = step(models, ranks, parts(x, rows), parts(x, rows))
        calls.append(ranks[0].calls - before)
        exact = x.astype(np.float64) - 1e6
        exact = (exact - exact.mean(0)) / np.sqrt(exact.var(0))
        assert np.abs(y - exact).max() < (2e-6 if dtype == np.float32 else 1e-9)
    assert calls[0] == 3
    assert calls[-1] == 2
    assert {rank.calls for rank in ranks} == {sum(calls)}


def test_the_variance_of_a_large_mean() -> None:
    """Where the running mean is near, or 0: the relative error of the variance."""
    shape, rows = (4096, 2), (1000, 3096)
    x = batch(shape, np.float64, 3, 1e6, 0.1)
    exact = (x - 1e6).var(0)
    for start in (0.0, 1e6):
        ranks = thread_ranks(2)
        layer = nn.SyncBatchNorm(2, momentum=1.0, biased_running_var=True, dtype=np.float64)
        assert layer.running_mean is not None
        layer.running_mean[...] = start
        models = copies(layer, ranks)
        step(models, ranks, parts(x, rows), parts(x, rows))
        np.testing.assert_allclose(models[1].running_var, exact, 1e-13)


@BOTH
def test_activations_and_dropout_are_fused_behind(dtype: Any) -> None:
    """One rank has all rows, the others none: the masks are those of one process then."""
    shape, ranks = (12, 3, 4, 4), thread_ranks(3)
    layers = norm(3, dtype), nn.ReLU(), nn.GELU(), nn.Dropout(0.3, generator=fastnn.random.Generator(1))
    whole = nn.Sequential(*layers)
    models = copies(whole, ranks)
    assert "fused: 0 to 3" in repr(models[0])
    x, dy = batch(shape, dtype), batch(shape, dtype, 1)
    y, dx = step(models, ranks, parts(x, (0, 12, 0)), parts(dy, (0, 12, 0)))
    check_near(y, whole(x), dtype, "y")
    check_near(dx, whole.backward(dy), dtype, "dx")
    check_alike(models, whole, dtype)


def test_a_network_on_ranks_of_which_one_has_no_rows() -> None:
    rows, ranks = (3, 0, 7), thread_ranks(3)
    whole = nn.Sequential(
        nn.Linear(6, 5, bias=False, dtype=np.float64),
        nn.BatchNorm1d(5, dtype=np.float64),
        nn.ReLU(),
        nn.Residual(
            nn.Sequential(
                nn.Linear(5, 5, bias=False, dtype=np.float64), nn.BatchNorm1d(5, dtype=np.float64), nn.Tanh()
            )
        ),
        nn.Linear(5, 2, dtype=np.float64),
    )
    models = copies(whole, ranks)
    x, dy = batch((10, 6), np.float64), batch((10, 2), np.float64, 1)
    done = on_each(ranks, lambda rank: models[rank.rank](parts(x, rows)[rank.rank]))
    check_near(np.concatenate(done), whole(x), np.float64, "y")
    dx = on_each(ranks, lambda rank: models[rank.rank].backward(parts(dy, rows)[rank.rank]))
    check_near(np.concatenate(dx), whole.backward(dy), np.float64, "dx")
    check_alike(models, whole, np.float64)


def test_an_addition_behind() -> None:
    """A chain with a residual goes the general way."""
    rows, ranks = (3, 5), thread_ranks(2)
    x, residual, dy = (batch((8, 3), np.float64, seed) for seed in range(3))
    whole = fastnn.fuse(stages.BatchNorm(), stages.Add(), stages.Activation("relu"))
    y, saved = whole.forward(x, residual=residual)
    expected = whole.backward(dy, saved)

    def both(rank: ThreadRanks) -> tuple[Array, Any]:
        own = fastnn.fuse(stages.BatchNorm(ranks=rank), stages.Add(), stages.Activation("relu"))
        some = [parts(array, rows)[rank.rank] for array in (x, residual, dy)]
        y, saved = own.forward(some[0], residual=some[1])
        return y, own.backward(some[2], saved)

    done = on_each(ranks, both)
    check_near(np.concatenate([y for y, _ in done]), y, np.float64, "y")
    for name in ("input", "residual"):
        got = np.concatenate([getattr(gradients, name) for _, gradients in done])
        check_near(got, getattr(expected, name), np.float64, name)


def test_half_precision() -> None:
    rows, ranks, whole = (3, 5), thread_ranks(2), norm(3, np.float32)
    x, dy = batch((8, 3, 4), np.float16), batch((8, 3, 4), np.float16, 1)
    y, dx = step(copies(whole, ranks), ranks, parts(x, rows), parts(dy, rows))
    assert y.dtype == dx.dtype == np.float16
    np.testing.assert_allclose(y.astype(float), whole(x).astype(float), 2e-3, 2e-3)
    np.testing.assert_allclose(dx.astype(float), whole.backward(dy).astype(float), 2e-3, 2e-3)


def test_bits_do_not_depend_on_threads() -> None:
    x, dy = batch((64, 16, 32, 32), np.float32), batch((64, 16, 32, 32), np.float32, 1)
    before, results = fastnn.get_num_threads(), []
    try:
        for threads in (1, 3):
            fastnn.set_num_threads(threads)
            ranks = thread_ranks(2)
            models = copies(norm(16, np.float32), ranks)
            y, dx = step(models, ranks, parts(x, (20, 44)), parts(dy, (20, 44)))
            results.append([y, dx, *models[0].buffers(), models[1].weight.grad])
    finally:
        fastnn.set_num_threads(before)
    for one, three in zip(*results, strict=True):
        np.testing.assert_array_equal(one, three)


# ---- what is not finite, and one value ---------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("skip", [True, False])
@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 5)], ids=str)
def test_what_is_not_finite_on_one_rank_is_the_channel_s_on_all(
    bad: float, skip: bool, shape: tuple[int, ...]
) -> None:
    rows, ranks, whole = (2, 4), thread_ranks(2), norm(3, np.float32, skip_nonfinite=skip)
    x = batch(shape, np.float32)
    x[0, 1] = bad
    models = copies(whole, ranks)
    for _ in range(2):  # in the second step running statistics may be spoilt
        y, _ = step(models, ranks, parts(x, rows), parts(x, rows))
        check_near(y[:, [0, 2]], whole(x)[:, [0, 2]], np.float32)
        assert np.isnan(y[:, 1]).all()
    for model in models:
        np.testing.assert_array_equal(np.isfinite(model.running_mean), [True, skip, True])
    x[0, 1] = 1  # spoilt running means do not spoil what follows
    y, _ = step(models, ranks, parts(x, rows), parts(x, rows))
    check_near(y, whole(x), np.float32)


@BOTH
def test_numbers_whose_squares_overflow(dtype: Any) -> None:
    rows, ranks = (3, 5), thread_ranks(2)
    x = batch((8, 2), dtype) * dtype(1e30 if dtype == np.float32 else 1e140)
    whole = nn.SyncBatchNorm(2, dtype=dtype, track_running_stats=False)
    y, _ = step(copies(whole, ranks), ranks, parts(x, rows), parts(x, rows))
    check_near(y, whole(x), dtype)


def test_deviations_beyond_float64_s_squares_are_nan() -> None:
    rows, ranks = (3, 5), thread_ranks(2)
    x = batch((8, 2), np.float64) * 1e200
    models = copies(nn.SyncBatchNorm(2, dtype=np.float64), ranks)
    y, _ = step(models, ranks, parts(x, rows), parts(x, rows))
    assert np.isnan(y).all()
    assert (models[0].running_var == 1).all()


@pytest.mark.parametrize("rows", [(1, 0), (0, 1)])
def test_one_value_on_all_ranks_is_an_error_on_all(rows: tuple[int, ...]) -> None:
    ranks, x = thread_ranks(2), batch((1, 3), np.float32)
    models = copies(nn.SyncBatchNorm(3), ranks)

    def fails(rank: ThreadRanks) -> None:
        with pytest.raises(ValueError, match=r"more than one value per channel, got one on all ranks"):
            models[rank.rank](parts(x, rows)[rank.rank])
        np.testing.assert_array_equal(models[rank.rank].running_var, 1)
        assert models[rank.rank].num_batches_tracked == 0

    on_each(ranks, fails)


def test_no_rows_at_all() -> None:
    ranks, x = thread_ranks(2), np.empty((0, 3), np.float32)
    models = copies(nn.SyncBatchNorm(3), ranks)
    y, dx = step(models, ranks, [x, x], [x, x])
    assert y.shape == dx.shape == (0, 3)
    assert models[0].num_batches_tracked == 0


# ---- when ranks add up -------------------------------------------------------------------------------------


def test_evaluation_and_frozen_layers_add_up_nothing() -> None:
    (rank, _), x = thread_ranks(2), batch((4, 3), np.float32)
    layer, plain = nn.SyncBatchNorm(3, ranks=rank).eval(), nn.BatchNorm1d(3).eval()
    np.testing.assert_array_equal(layer(x), plain(x))
    np.testing.assert_array_equal(layer.backward(x), plain.backward(x))
    model = nn.Sequential(nn.SyncBatchNorm(3, ranks=rank).requires_grad_(False), nn.ReLU()).train()
    np.testing.assert_array_equal(model(x), np.maximum(plain(x), 0))
    assert rank.calls == 0


def test_inference_in_training_mode_adds_up() -> None:
    rows, ranks, whole, x = (1, 5), thread_ranks(2), nn.SyncBatchNorm(3), batch((6, 3), np.float32)
    models = copies(whole, ranks)

    def run(rank: ThreadRanks) -> Array:
        with fastnn.inference():
            return models[rank.rank](parts(x, rows)[rank.rank])  # type: ignore[no-any-return]

    check_near(np.concatenate(on_each(ranks, run)), whole(x), np.float32)
    assert [rank.calls for rank in ranks] == [1, 1]
    with pytest.raises(RuntimeError, match=r"outside fastnn\.inference"):
        models[0].backward(x)


@BOTH
@pytest.mark.parametrize("ranks", [None, thread_ranks(1)[0]], ids=["None", "one"])
def test_one_rank_has_batch_norm_s_bits(dtype: Any, ranks: Any) -> None:
    x, dy = batch((6, 3, 5), dtype), batch((6, 3, 5), dtype, 1)
    layer, plain = nn.SyncBatchNorm(3, dtype=dtype, ranks=ranks), nn.BatchNorm1d(3, dtype=dtype)
    np.testing.assert_array_equal(layer(x), plain(x))
    np.testing.assert_array_equal(layer.backward(dy), plain.backward(dy))
    for name, array in plain.state_dict().items():
        np.testing.assert_array_equal(layer.state_dict()[name], array, err_msg=name)


# ---- conversion, copies and files --------------------------------------------------------------------------


class Own(nn.Module):
    """A model with norms in attributes, a list and a plain list beside it."""

    def __init__(self) -> None:
        self.first = nn.BatchNorm2d(3)
        self.blocks = nn.ModuleList([nn.Residual(nn.Sequential(nn.BatchNorm1d(3))), nn.BatchNorm3d(3)])
        self.named = nn.ModuleDict({"norm": nn.BatchNorm1d(3, momentum=None)})
        self.order = [self.first]


def test_convert_keeps_the_layers_with_all_they_have() -> None:
    model, (rank, _) = Own(), thread_ranks(2)
    model.first.requires_grad_(False)
    before = [module for module in model.modules() if hasattr(module, "running_mean")]
    held = [vars(module).copy() for module in before]
    names, parameters = list(model.state_dict()), list(model.parameters())
    assert nn.SyncBatchNorm.convert(model, rank) is model
    after = [module for module in model.modules() if isinstance(module, nn.SyncBatchNorm)]
    assert len(after) == len(before) == 4
    assert all(a is b for a, b in zip(after, before, strict=True))
    assert model.order[0] is model.first
    for module, old in zip(after, held, strict=True):
        assert module.ranks is rank
        assert {name: value for name, value in vars(module).items() if name != "ranks"} == old
    assert list(model.state_dict()) == names
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert model.first.frozen
    nn.SyncBatchNorm.convert(model, None)
    assert all(module.ranks is None for module in after)


def test_convert_of_a_norm_and_of_a_sequential_that_has_run() -> None:
    ranks, x = thread_ranks(2), batch((6, 3), np.float32)
    layer = nn.BatchNorm1d(3)
    converted: Any = nn.SyncBatchNorm.convert(layer, ranks[0])
    assert isinstance(converted, nn.SyncBatchNorm)
    models = [nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()) for _ in ranks]
    plain = models[0](x)
    for model, rank in zip(models, ranks, strict=True):
        model[0].reset_running_stats()
        nn.SyncBatchNorm.convert(model, rank)
    y, _ = step(models, ranks, parts(x, (2, 4)), parts(x, (2, 4)))
    check_near(y, plain, np.float32)


def test_convert_refuses_subclasses_and_changes_nothing() -> None:
    class Mine(nn.BatchNorm1d):
        pass

    class MineOfRanks(nn.SyncBatchNorm):
        pass

    rank = thread_ranks(2)[0]
    model = nn.Sequential(nn.BatchNorm1d(3), Mine(3))
    with pytest.raises(TypeError, match="no subclass of a batch norm, got Mine"):
        nn.SyncBatchNorm.convert(model, rank)
    assert type(model[0]) is nn.BatchNorm1d
    kept = nn.SyncBatchNorm.convert(MineOfRanks(3), rank)
    assert type(kept) is MineOfRanks
    assert kept.ranks is rank
    with pytest.raises(TypeError, match="ranks must be a communicator"):
        nn.SyncBatchNorm.convert(nn.BatchNorm1d(3), 3)
    with pytest.raises(TypeError, match="ranks must be a communicator"):
        nn.SyncBatchNorm(3, ranks="world")
    with pytest.raises(TypeError, match="model must be a layer"):
        nn.SyncBatchNorm.convert(3, rank)  # type: ignore[type-var]


def test_shapes_and_their_error() -> None:
    layer = nn.SyncBatchNorm(3)
    for shape in SHAPES[2:4]:
        assert layer(batch(shape, np.float32)).shape == shape
    with pytest.raises(ValueError, match=r"SyncBatchNorm: x must have shape \(N, C\) or .* with C = 3"):
        layer(np.ones((4, 2), np.float32))


def test_copies_share_ranks_and_pickles_have_none() -> None:
    rank = thread_ranks(2)[0]
    model = nn.Sequential(nn.SyncBatchNorm(3, ranks=rank), nn.ReLU())
    assert copy.deepcopy(model)[0].ranks is rank
    assert copy.copy(model[0]).ranks is rank
    loaded = pickle.loads(pickle.dumps(model))
    assert loaded[0].ranks is None
    assert type(loaded[0]) is nn.SyncBatchNorm


def test_a_saved_model_has_no_ranks(tmp_path: Path) -> None:
    model = nn.Sequential(
        nn.Linear(4, 3), nn.SyncBatchNorm(3, momentum=None, ranks=thread_ranks(2)[0])
    ).eval()
    fastnn.save(tmp_path / "model.safetensors", model)
    loaded: Any = fastnn.load(tmp_path / "model.safetensors").model
    assert type(loaded[1]) is nn.SyncBatchNorm
    assert loaded[1].ranks is None
    assert loaded[1].momentum is None
    x = batch((5, 4), np.float32)
    np.testing.assert_array_equal(loaded.eval()(x), model(x))


def test_the_state_fits_batch_norm_s() -> None:
    layer, plain = nn.SyncBatchNorm(3), nn.BatchNorm2d(3)
    assert list(layer.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(layer.state_dict())


def test_update_bn_takes_the_rows_of_all_ranks() -> None:
    rows, ranks, x = (2, 6), thread_ranks(2), batch((8, 3), np.float32)
    models, whole = copies(nn.SyncBatchNorm(3), ranks), nn.BatchNorm1d(3)
    on_each(ranks, lambda rank: nn.utils.update_bn(models[rank.rank], [parts(x, rows)[rank.rank]]))
    nn.utils.update_bn(whole, [x])
    check_alike(models, whole, np.float32)


def test_fuse_bn_folds_it() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.SyncBatchNorm(3))
    model(batch((9, 4), np.float32))
    model.eval()
    fused, x = nn.utils.fuse_bn(model), batch((5, 4), np.float32, 1)
    assert len(fused) == 1
    np.testing.assert_allclose(fused(x), model(x), 1e-5, 1e-5)
