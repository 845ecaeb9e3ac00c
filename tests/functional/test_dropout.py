"""Dropout and its relatives: masks and values against the reference, arrays, keys, errors; the layers.

How random the draws are is tests/functional/test_draws.py's subject.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import fastnn
import fastnn.functional as F
from fastnn import Generator, Key, _kernels, nn, reference
from fastnn._core.typing import Array
from fastnn.random import default_generator
from support.cases import each
from support.ulp import assert_within, widen

KEY = Key(2**63 + 5, 2**40 + 7)
BFLOAT16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
DTYPES = each("dtype", [np.float32, np.float64, np.float16, BFLOAT16])
# name: a shape that the function takes, with `size` elements or a little more
SHAPES: dict[str, Callable[[int], tuple[int, ...]]] = {
    "dropout": lambda size: (size,),
    "dropout1d": lambda size: (2, -(-size // 6), 3),
    "dropout2d": lambda size: (3, -(-size // 105), 7, 5),
    "dropout3d": lambda size: (2, 3, -(-size // 30), 5, 1),
    "alpha_dropout": lambda size: (size,),
    "drop_connect": lambda size: (size,),
    "drop_path": lambda size: (5, -(-size // 5)),
}
NAMES = pytest.mark.parametrize("name", SHAPES)
EACH = pytest.mark.parametrize("name", [name + end for name in SHAPES for end in ("", "_backward")])
SIZES = sorted({0, 1, *range(7, 10), *range(15, 18), *range(31, 34), 63, 64, 65, 1023, 1024, 1025, 5000})


def shape_of(name: str, size: int) -> tuple[int, ...]:
    return SHAPES[name.removesuffix("_backward")](size)


def normal(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    return np.random.default_rng(0).normal(scale=2, size=shape).astype(dtype)


def check(name: str, got: Array, x: Array, p: float = 0.5, **rest: Any) -> None:
    """Fails unless `got` is the reference's; alpha_dropout's error is measured by the larger of its terms."""
    exact = getattr(reference, name)(widen(x), p, key=KEY, **rest)
    term = 2.0 * np.abs(widen(x)) if name == "alpha_dropout" else 0.0
    assert_within(got, exact, 2.0, np.nan_to_num(term, posinf=0.0))
    np.testing.assert_array_equal(got == 0, exact == 0)


# ---- values ------------------------------------------------------------------------------------------------


@EACH
@each("dtype", [np.float32, np.float64])
def test_values_are_the_references(name: str, dtype: Any, isa: str) -> None:
    function = getattr(F, name)
    for size in SIZES:
        x = normal(shape_of(name, size), dtype)
        for p in (0.5, 0.1) if size > 100 else (0.5,):
            y = function(x, p, key=KEY)
            assert y.dtype == dtype
            check(name, y, x, p)


@EACH
@DTYPES
def test_layouts_and_dtypes(name: str, dtype: Any) -> None:
    function, x = getattr(F, name), normal(shape_of(name, 3000), dtype)
    before = x.copy()
    layouts = {
        "plain": x,
        "fortran": np.asfortranarray(x),
        "strided": np.repeat(x, 2, axis=-1)[..., ::2],
        "reversed": np.ascontiguousarray(x[::-1])[::-1],
        "other byte order": x.astype(x.dtype.newbyteorder()),
        "misaligned": np.frombuffer(b"\0" + x.tobytes(), x.dtype, x.size, 1).reshape(x.shape),
    }
    for layout, array in layouts.items():
        y = function(array, 0.3, key=KEY)
        assert y.dtype == x.dtype, layout
        check(name, y, x, 0.3)
        np.testing.assert_array_equal(array, before)
        out = np.empty_like(array)  # of the same layout
        assert function(array, 0.3, key=KEY, out=out) is out
        np.testing.assert_array_equal(out, y, layout)
        if array.flags.writeable:
            assert function(array, 0.3, key=KEY, out=array) is array
            np.testing.assert_array_equal(array, y, layout)
            array[...] = before


@NAMES
def test_overlapping_output(name: str) -> None:
    memory = normal((2 * 3000,))
    x, out = memory[:3000], memory[5:3005]
    if name not in ("dropout", "alpha_dropout", "drop_connect"):
        x, out = (a.reshape(5, 6, *(10,) * 2)[: 5 if name == "drop_path" else 6] for a in (x, out))
        name = "drop_path"
    expected = getattr(F, name)(x.copy(), key=KEY)
    np.testing.assert_array_equal(getattr(F, name)(x, key=KEY, out=out), expected)


@EACH
def test_no_dimensions_no_elements_lists_integers(name: str) -> None:
    function, shape = getattr(F, name), shape_of(name, 12)
    assert function(np.empty(shape_of(name, 0)), key=KEY).size == 0
    values = np.arange(np.prod(shape)).reshape(shape)
    expected = function(values.astype(np.float64), key=KEY)
    np.testing.assert_array_equal(function(values.tolist(), key=KEY), expected)
    np.testing.assert_array_equal(function(values, key=KEY), expected)
    assert function(values.astype(np.int8), key=KEY).dtype == np.float16
    if len(shape) == 1:
        scalar = function(3.0, key=KEY)
        assert scalar.shape == ()
        check(name, scalar, np.asarray(3.0))


@EACH
def test_the_number_of_threads_changes_nothing(name: str, threads: None) -> None:
    function, x = getattr(F, name), normal(shape_of(name, 300_001))
    fastnn.set_num_threads(1)
    alone = function(x, key=KEY)
    check(name, alone, x)
    for count in (2, 3, 8):
        fastnn.set_num_threads(count)
        np.testing.assert_array_equal(function(x, key=KEY), alone)


@each("shift", [0, 1, 7])
def test_large_arrays_are_streamed_alike(shift: int, threads: None) -> None:
    """Beyond 96 MB; the output's first line begins anywhere, and so do the draws of what follows it."""
    n = (13 << 20) + 5
    x, out = np.ones(n, np.float32), np.empty(n + shift, np.float32)[shift:]
    mask = F.dropout_mask(n, 0.25, key=KEY)
    for count in (1, 2):
        fastnn.set_num_threads(count)
        out[...] = 7
        F.dropout(x, 0.25, key=KEY, out=out)
        np.testing.assert_array_equal(out, mask * np.float32(1 / 0.75))
    np.testing.assert_array_equal(F.dropout(x, 0.25, key=KEY, out=x), out)


@EACH
@each("dtype", [np.float32, np.float64])
def test_dropped_values_do_not_matter_and_kept_ones_do(name: str, dtype: Any, isa: str) -> None:
    function = getattr(F, name)
    special = [np.nan, np.inf, -np.inf, 0.0, -0.0, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max]
    shape = shape_of(name, 420)
    kept = function(np.ones(shape, dtype), key=KEY) != function(np.zeros(shape, dtype), key=KEY)
    nothing = function(np.zeros(shape, dtype), key=KEY)
    assert 0 < kept.sum() < kept.size
    for value in special:
        x = np.full(shape, value, dtype)
        y = function(x, key=KEY)
        check(name, y, x)
        np.testing.assert_array_equal(y[~kept], nothing[~kept])


@EACH
def test_p_0_keeps_every_bit_and_p_1_none(name: str, isa: str) -> None:
    function, shape = getattr(F, name), shape_of(name, 3001)
    for unsigned, dtype in ((np.uint32, np.float32), (np.uint64, np.float64)):
        bits = np.random.default_rng(0).integers(0, 2**32, shape).astype(unsigned)
        bits.reshape(-1)[:2] = np.array([np.nan, -0.0], dtype).view(unsigned)
        bits.reshape(-1)[2] = np.array(np.inf, dtype).view(unsigned) + 1  # a signalling NaN
        x = bits.view(dtype)
        for p, training in ((0.0, True), (0, True), (0.5, False), (1.0, False)):
            y = function(x, p, training, key=KEY)
            assert not np.shares_memory(x, y)
            np.testing.assert_array_equal(y.view(unsigned), bits)
        np.testing.assert_array_equal(function(x, 1.0, key=KEY).view(unsigned), 0)


def test_tiny_and_huge_p() -> None:
    x = np.ones(100_000)
    np.testing.assert_array_equal(F.dropout(x, 2**-18, key=KEY), 1 / (1 - 2**-18))
    np.testing.assert_array_equal(F.dropout(x, 1 - 2**-18, key=KEY), 0)
    assert F.dropout_mask(1 << 20, 1 - 2**-16, key=KEY).sum() == (reference_draws(1 << 20) == 0).sum()
    assert (~F.dropout_mask(1 << 20, 2**-16, key=KEY)).sum() == (reference_draws(1 << 20) == 65535).sum()


def reference_draws(n: int) -> NDArray[np.uint16]:
    return reference.philox.random_draws(n, *KEY)


@NAMES
def test_gradients_are_the_differences(name: str) -> None:
    """All are affine: a difference of any size gives the gradient."""
    forward, backward = getattr(F, name), getattr(F, name + "_backward")
    x = normal(shape_of(name, 700), np.float64)
    for p in (0.0, 0.2, 1.0):
        dy = normal(x.shape[::-1], np.float64).reshape(x.shape)
        difference = forward(x + dy, p, key=KEY) - forward(x, p, key=KEY)
        np.testing.assert_allclose(backward(dy, p, key=KEY), difference, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["dropout", "dropout_backward"])
def test_scaling_at_test_time(name: str) -> None:
    function, x = getattr(F, name), normal((1000,))
    mask = F.dropout_mask(1000, 0.3, key=KEY)
    np.testing.assert_array_equal(function(x, 0.3, key=KEY, scale="test"), np.where(mask, x, 0))
    np.testing.assert_array_equal(function(x, 0.3, training=False, scale="test"), x * np.float32(0.7))
    np.testing.assert_array_equal(function(x, 0.0, training=False, scale="test"), x)
    np.testing.assert_array_equal(function(x * np.nan, 1.0, training=False, scale="test"), 0)


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    x = np.random.default_rng(0).standard_normal(1_000_000)
    y = F.alpha_dropout(x, 0.3, key=KEY)
    assert abs(y.mean()) < 5e-3
    assert abs(y.var() - 1) < 1e-2
    assert np.unique(y[~F.dropout_mask(x.size, 0.3, key=KEY)]).size == 1


@pytest.mark.parametrize("name", ["dropout1d", "dropout2d", "dropout3d", "drop_path"])
def test_whole_units_are_dropped(name: str, isa: str) -> None:
    """Units from one element to more than a tile of the kernels, and units that tiles cut."""
    axes = 1 if name == "drop_path" else 2
    after = {"dropout1d": 1, "dropout2d": 2, "dropout3d": 3, "drop_path": 1}[name]
    for unit in (1, 2, 3, 7, 63, 64, 65, 1000, 1025, 5000):
        shape = (*(5, 3)[:axes], *(1,) * (after - 1), unit)
        y = getattr(F, name)(np.ones(shape, np.float32), 0.5, key=KEY)
        kept = F.dropout_mask(shape[:axes], 0.5, key=KEY)
        expected = np.broadcast_to(kept.reshape(kept.shape + (1,) * after), shape)
        np.testing.assert_array_equal(y, 2 * expected, str(unit))


def test_channels_without_a_batch() -> None:
    for function, after in ((F.dropout1d, 1), (F.dropout3d, 3)):
        x = np.ones((40, *(2,) * after))
        np.testing.assert_array_equal(function(x, key=KEY), function(x[None], key=KEY)[0])


# ---- masks -------------------------------------------------------------------------------------------------


@each("p", [0.0, 0.1, 0.5, 0.999, 1.0])
def test_masks_are_the_references(p: float, isa: str) -> None:
    for size in [*SIZES, 100_003]:
        mask, packed = F.dropout_mask(size, p, key=KEY), F.dropout_mask(size, p, key=KEY, packed=True)
        assert (mask.dtype.name, packed.dtype.name) == ("bool", "uint8")
        assert packed.shape == ((size + 7) // 8,)
        np.testing.assert_array_equal(mask, reference.dropout_mask(size, p, key=KEY))
        np.testing.assert_array_equal(packed, np.packbits(mask, bitorder="little"))


def test_masks_begin_anywhere(isa: str) -> None:
    whole = F.dropout_mask(4000, 0.5, key=KEY)
    for first in (*range(1, 18), 1023, 1025):
        for count in (1, 7, 8, 9, 63, 64, 65, 600, 2000):
            part = np.empty(count, np.bool_)
            _kernels.dropout_mask(part, count, KEY, 32768, first)
            np.testing.assert_array_equal(part, whole[first : first + count])


@pytest.mark.parametrize("shape", [(3, 4, 5), [3, 4, 5], 60, np.int64(60), (), (0, 3)])
def test_the_mask_is_dropouts(shape: Any) -> None:
    mask = F.dropout_mask(shape, 0.4, key=KEY)
    sizes = (int(shape),) if np.ndim(shape) == 0 and not isinstance(shape, tuple) else tuple(shape)
    assert mask.shape == sizes
    np.testing.assert_array_equal(mask, F.dropout(np.ones(sizes), 0.4, key=KEY) > 0)


def test_masks_and_threads(threads: None) -> None:
    masks = []
    for count in (1, 2, 3, 8):
        fastnn.set_num_threads(count)
        masks.append((F.dropout_mask(500_009, key=KEY), F.dropout_mask(500_009, key=KEY, packed=True)))
    for mask, packed in masks[1:]:
        np.testing.assert_array_equal(mask, masks[0][0])
        np.testing.assert_array_equal(packed, masks[0][1])


# ---- keys and errors ---------------------------------------------------------------------------------------


@NAMES
def test_the_default_generator_gives_the_key(name: str) -> None:
    function, x = getattr(F, name), normal(shape_of(name, 500))
    seed = fastnn.manual_seed(11).seed
    first, second = function(x), function(x)
    assert default_generator().key() == Key(seed, 2)
    assert (first != second).any()
    np.testing.assert_array_equal(first, function(x, key=Key(11, 0)))
    np.testing.assert_array_equal(second, function(x, key=Key(11, 1)))
    function(x, training=False)
    assert default_generator().key() == Key(seed, 3)
    with pytest.raises(
        ValueError, match=r"^key must be the key that the forward call drew its mask from, got N"
    ):
        getattr(F, name + "_backward")(x)
    getattr(F, name + "_backward")(x, training=False)


@EACH
def test_a_bad_p(name: str) -> None:
    function, x = getattr(F, name), normal(shape_of(name, 20))
    out = np.full_like(x, 7)
    for training in (True, False):
        for p in (-0.1, 1.0000001, np.nan, np.inf, -np.inf, 2):
            with pytest.raises(ValueError, match=rf"^p must be in \[0, 1\], got {float(p)}$"):
                function(x, p, training, key=KEY, out=out)
        for wrong in (np.array([0.5]), np.array(0.5), "0.5", None, 0.5j):
            with pytest.raises(TypeError, match=rf"^p must be a real number, got {type(wrong).__name__}$"):
                function(x, wrong, training, key=KEY, out=out)
    assert (out == 7).all()


@EACH
def test_bad_arrays_and_keys(name: str) -> None:
    function, x = getattr(F, name), normal(shape_of(name, 20))
    called = {"drop_connect": "weight"}.get(name, "dy" if name.endswith("_backward") else "input")
    with pytest.raises(TypeError, match=rf"^{called} must be an array of float16.*got complex128$"):
        function(x.astype(complex), key=KEY)
    with pytest.raises(ValueError, match=r"^out must have shape "):
        function(x, key=KEY, out=np.empty((1, *x.shape), x.dtype))
    with pytest.raises(TypeError, match=r"^out must have dtype float32, got float64$"):
        function(x, key=KEY, out=np.empty(x.shape))
    for key in (7, (1, 2, 3, 4), (1.0, 2), (1, 2, 3.0), "ab"):
        with pytest.raises(TypeError, match=r"^key must be a fastnn.Key"):
            function(x, key=key)
    with pytest.raises(ValueError, match=r"^key must have seed and offset in \[0, 2\*\*64\), got \(-1, 0\)$"):
        function(x, key=(-1, 0))
    with pytest.raises(ValueError, match=r"^key must have a row in \[0, 2\*\*63\), got \(1, 0, -1\)$"):
        function(x, key=(1, 0, -1))


def test_a_bad_scale() -> None:
    for function in (F.dropout, F.dropout_backward):
        wrong: tuple[Any, ...] = ("both", np.ones(2))
        for scale in wrong:
            with pytest.raises(ValueError, match=r"^scale must be 'train' or 'test', got "):
                function(np.ones(3), key=KEY, scale=scale)


@pytest.mark.parametrize("end", ["", "_backward"])
@pytest.mark.parametrize(
    ("name", "shapes", "takes"),
    [
        ("dropout1d", [(3,), (2, 2, 2, 2)], "(N, C, L) or (C, L)"),
        ("dropout2d", [(3,), (2, 2), (2, 2, 2), (2,) * 5], "(N, C, H, W)"),
        ("dropout3d", [(3,), (2, 2, 2), (2,) * 6], "(N, C, D, H, W) or (C, D, H, W)"),
        ("drop_path", [()], "(N, ...)"),
    ],
)
def test_wrong_dimensions(name: str, end: str, shapes: list[tuple[int, ...]], takes: str) -> None:
    called = "dy" if end else "input"
    for shape in shapes:
        message = re.escape(f"{called} must have shape {takes}, got {shape}")
        with pytest.raises(ValueError, match=f"^{message}$"):
            getattr(F, name + end)(np.ones(shape), key=KEY)


@pytest.mark.parametrize(
    ("shape", "error", "message"),
    [
        (-1, ValueError, "shape must not be negative, got (-1,)"),
        ((3, -2), ValueError, "shape must not be negative, got (3, -2)"),
        (2**64, ValueError, f"shape must be of fewer than 2**63 elements, got ({2**64},)"),
        ((2**63, 0), ValueError, f"shape must be of fewer than 2**63 elements, got ({2**63}, 0)"),
        ((2**40, 2**40), ValueError, f"shape must be of fewer than 2**63 elements, got ({2**40}, {2**40})"),
        (2.5, TypeError, "shape must be an integer or a sequence of integers, got 2.5"),
        ((2, 1.0), TypeError, "shape must be an integer or a sequence of integers, got (2, 1.0)"),
        (None, TypeError, "shape must be an integer or a sequence of integers, got None"),
    ],
)
def test_a_bad_shape(shape: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        F.dropout_mask(shape, key=KEY)


def test_a_bad_p_of_a_mask() -> None:
    with pytest.raises(ValueError, match=r"^p must be in \[0, 1\], got nan$"):
        F.dropout_mask(3, np.nan)


# ---- torch -------------------------------------------------------------------------------------------------


@each("p", [0.0, 0.25, 0.9, 1.0])
@pytest.mark.parametrize("name", ["dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"])
def test_torch_gives_the_same_values(name: str, p: float) -> None:
    """torch draws another mask; what it makes of what is kept and of what is dropped is the same."""
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn.functional, name)
    shape = (50, 40, *shape_of(name, 1)[2:]) if name.endswith("d") else (2000,)
    x = np.full(shape, 1.5)
    got, expected = getattr(F, name)(x, p, key=KEY), theirs(torch.tensor(x), p, True).numpy()
    np.testing.assert_allclose(np.unique(got), np.unique(expected), rtol=1e-14)
    np.testing.assert_allclose(got.mean(), expected.mean(), atol=0.6)


@pytest.mark.parametrize("layer", ["Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"])
def test_layers_are_written_as_in_torch(layer: str) -> None:
    torch = pytest.importorskip("torch")
    for arguments in ((), (0.25,), (0.25, True)):
        assert repr(getattr(nn, layer)(*arguments)) == repr(getattr(torch.nn, layer)(*arguments))


# ---- layers ------------------------------------------------------------------------------------------------

LAYERS: dict[str, Any] = {
    "dropout": nn.Dropout,
    "dropout1d": nn.Dropout1d,
    "dropout2d": nn.Dropout2d,
    "dropout3d": nn.Dropout3d,
    "alpha_dropout": nn.AlphaDropout,
    "drop_path": nn.DropPath,
}
EACH_LAYER = pytest.mark.parametrize("name", LAYERS)


@EACH_LAYER
def test_a_layer_is_its_function(name: str) -> None:
    layer, x = LAYERS[name](0.3, generator=Generator(9)), normal(shape_of(name, 400))
    dy = normal(x.shape) + 1
    for offset in range(2):
        key = Key(9, offset)
        np.testing.assert_array_equal(layer(x), getattr(F, name)(x, 0.3, key=key))
        np.testing.assert_array_equal(layer.backward(dy), getattr(F, name + "_backward")(dy, 0.3, key=key))
    kept = [value for value in vars(layer).values() if isinstance(value, np.ndarray)]
    assert not kept


@EACH_LAYER
def test_evaluation_is_the_identity(name: str) -> None:
    layer, x = LAYERS[name](generator=Generator(9)), normal(shape_of(name, 400))
    layer(x)
    layer.eval()
    assert layer(x) is x
    assert layer.backward(x) is x
    layer.train()
    np.testing.assert_array_equal(layer(x), getattr(F, name)(x, key=Key(9, 1)))


@EACH_LAYER
def test_layers_in_place_and_by_default(name: str) -> None:
    fastnn.manual_seed(21)
    layer, x = LAYERS[name](0.5, True), normal(shape_of(name, 400))
    expected = getattr(F, name)(x, 0.5, key=Key(21, 0))
    assert layer(x) is x
    np.testing.assert_array_equal(x, expected)
    assert repr(layer) == f"{type(layer).__name__}(p=0.5, inplace=True)"


@pytest.mark.parametrize("make", [*LAYERS.values(), lambda *a, **k: nn.DropConnect(nn.Linear(2, 2), *a, **k)])
def test_layers_report_bad_arguments(make: Callable[..., nn.Module]) -> None:
    with pytest.raises(ValueError, match=r"^p must be in \[0, 1\], got 1.5$"):
        make(1.5)
    with pytest.raises(TypeError, match=r"^p must be a real number, got ndarray$"):
        make(np.array([0.5]))
    with pytest.raises(TypeError, match=r"^generator must be a fastnn.Generator, got int$"):
        make(0.5, generator=3)
    with pytest.raises(RuntimeError, match=r"backward needs a forward pass first"):
        make().backward(np.ones((2, 2), np.float32))


def test_drop_connect() -> None:
    """y = x W'^T + b; the gradients against differences, with the key of the pass."""
    fastnn.manual_seed(1)
    linear = nn.Linear(5, 4, dtype=np.float64)
    layer = nn.DropConnect(linear, 0.4, generator=Generator(6))
    rng = np.random.default_rng(0)
    x, dy, whole = rng.standard_normal((3, 5)), rng.standard_normal((3, 4)), linear.weight
    weight, assert_close = whole.data.copy(), np.testing.assert_allclose
    for offset in range(2):
        layer.zero_grad()
        kept = F.drop_connect(weight, 0.4, key=Key(6, offset))
        assert linear.bias is not None
        assert_close(layer(x), x @ kept.T + linear.bias.data)
        assert_close(layer.backward(dy), dy @ kept)
        assert linear.weight is whole
        np.testing.assert_array_equal(whole.data, weight)
        assert whole.grad is not None
        assert_close(whole.grad, dy.T @ x * (kept / weight))
        assert linear.bias.grad is not None
        assert_close(linear.bias.grad, dy.sum(axis=0))
        layer.generator = Generator(6).set_state((6, offset))
        layer(x)
        layer.backward(dy)
        assert_close(whole.grad, 2 * dy.T @ x * (kept / weight))
    layer.eval()
    layer.zero_grad()
    assert_close(layer(x), linear(x))
    assert_close(layer.backward(dy), dy @ weight)
    np.testing.assert_allclose(np.asarray(whole.grad), dy.T @ x)
    assert [name for name, _ in layer.named_parameters()] == ["linear.weight", "linear.bias"]
    assert repr(layer).startswith("DropConnect(p=0.4\n  (linear): Linear(")
    with pytest.raises(TypeError, match=r"^DropConnect: linear must be an nn.Linear, got ReLU$"):
        nn.DropConnect(nn.ReLU())  # type: ignore[arg-type]


def test_drop_connect_puts_the_weight_back_after_an_error() -> None:
    layer = nn.DropConnect(nn.Linear(3, 2))
    weight = layer.linear.weight
    with pytest.raises(ValueError, match="shape"):
        layer(np.ones((2, 5), np.float32))
    assert layer.linear.weight is weight


def test_a_model_learns_with_dropout() -> None:
    """A whole step: repeatable from the seed, and different in evaluation."""

    def outputs() -> tuple[Array, Array, Array]:
        fastnn.manual_seed(3)
        model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 2))
        x = normal((16, 6))
        y = model(x)
        return y, model.backward(np.ones_like(y)), model.eval()(x)

    first, second = outputs(), outputs()
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first[0] != first[2]).any()
