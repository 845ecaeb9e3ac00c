"""Random calls that have a part of a larger batch: for a sample they draw what the whole batch's call draws.

The oracle is the call with the whole batch: parts of it, one after the other, must be its result to the bit.
"""

from __future__ import annotations

import inspect
import pickle
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import fastnn
import fastnn.functional as F
from fastnn import Generator, Key, augment, nn, preprocessing, reference, stages
from fastnn._core.typing import Array
from fastnn.random import child_key
from fastnn.train.transform import transformed_batch
from support.cases import each

KEY = Key(2**63 + 5, 2**40 + 7)
FAR = KEY._replace(row=2**40 + 3)
ROWS = 13
#: Where the batch is cut: parts of several rows, of one row and of none.
CUTS = [0, 3, 4, 4, 9, ROWS]
PARTS = [*pairwise(CUTS)]
DTYPES = each("dtype", [np.float32, np.float64, np.float16])


def normal(*shape: int, dtype: Any = np.float32) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def at(row: int, key: Key = KEY) -> Key:
    return key._replace(row=key.row + row)


def same(whole: Any, parts: list[Any]) -> None:
    """Fail unless the parts are the whole, bit by bit."""
    got = np.concatenate(parts)
    assert got.dtype == whole.dtype
    assert got.shape == whole.shape
    assert got.tobytes() == np.ascontiguousarray(whole).tobytes()


# ---- functions ---------------------------------------------------------------------------------------------


def _rrelu_backward(dy: Array, key: Key) -> Array:
    return F.rrelu_backward(dy, -np.abs(dy), training=True, key=key)


def _pool(x: Array, key: Key) -> Array:
    return F.fractional_max_pool2d(x, 2, 3, key=key)[0]


def _pool_backward(x: Array, key: Key) -> Array:
    y, saved = F.fractional_max_pool2d(x, 2, 3, key=key)
    return F.fractional_max_pool2d_backward(y, saved)


def _mask(x: Array, key: Key) -> Array:
    return F.dropout_mask(x.shape, 0.3, key=key)


#: What draws for samples: the shape of one sample, and calls of x (N, ...) and a key.
CALLS: dict[str, tuple[tuple[int, ...], Callable[[Array, Key], Array]]] = {
    "rrelu": ((7, 3), lambda x, key: F.rrelu(-np.abs(x), training=True, key=key)),
    "rrelu_backward": ((7, 3), _rrelu_backward),
    "fractional_max_pool2d": ((3, 5, 6), _pool),
    "fractional_max_pool2d_backward": ((3, 5, 6), _pool_backward),
    "dropout_mask": ((7, 3), _mask),
}
SAMPLES = {
    "dropout": (7, 3),
    "alpha_dropout": (11,),
    "drop_path": (5, 2),
    "dropout1d": (3, 5),
    "dropout2d": (5, 3, 2),
    "dropout3d": (3, 2, 1, 3),
}


def _call(name: str) -> Callable[[Array, Key], Array]:
    return lambda x, key: getattr(F, name)(x, 0.3, key=key)


for _name, _sample in SAMPLES.items():
    for _each in (_name, f"{_name}_backward"):
        CALLS[_each] = (_sample, _call(_each))
NAMES = pytest.mark.parametrize("name", CALLS)


@NAMES
@DTYPES
@each("start", [KEY, FAR])
def test_parts_are_the_whole(isa: str, name: str, dtype: Any, start: Key) -> None:
    sample, call = CALLS[name]
    x = normal(ROWS, *sample, dtype=dtype)
    same(call(x, start), [call(x[a:b], at(a, start)) for a, b in PARTS])


@NAMES
def test_the_reference_agrees(name: str) -> None:
    """Of rows far beyond the first, too."""
    x = np.abs(normal(ROWS, *CALLS[name][0], dtype=np.float64)) + 1
    options: dict[str, Any] = {"key": FAR}
    if name == "dropout_mask":
        expected, got = (module.dropout_mask(x.shape, 0.3, **options) for module in (reference, F))
    elif name.startswith("fractional"):
        options |= {"kernel_size": 2, "output_size": 3}
        expected, got = (module.fractional_max_pool2d(x, **options)[0] for module in (reference, F))
    elif name.startswith("rrelu"):
        arguments = (-x, -x) if name.endswith("backward") else (-x,)
        options["training"] = True
        expected, got = (getattr(module, name)(*arguments, **options) for module in (reference, F))
    else:
        expected, got = (getattr(module, name)(x, 0.3, **options) for module in (reference, F))
    np.testing.assert_allclose(got.astype(float), np.asarray(expected, float), rtol=1e-13)


def test_large_parts_and_threads(isa: str, threads: None) -> None:
    x = normal(9, 12347)
    for count in (1, 2, 5):
        fastnn.set_num_threads(count)
        for name in ("dropout", "drop_path", "rrelu"):
            call = CALLS[name][1]
            same(call(x, KEY), [call(x[a:b], at(a)) for a, b in [(0, 2), (2, 9)]])


def test_memory_layouts(isa: str) -> None:
    x = normal(ROWS, 5, 3, 4)
    for laid_out in (
        np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),  # channels last
        np.ascontiguousarray(x.T).T,
        np.repeat(x, 2, axis=3)[..., ::2],
        x.astype(">f4"),
    ):
        for name in ("dropout", "dropout2d", "drop_path", "rrelu"):
            call = CALLS[name][1]
            same(call(laid_out, KEY).astype(np.float32), [call(x[a:b], at(a)) for a, b in PARTS])
            same(call(x, KEY), [call(laid_out[a:b], at(a)).astype(np.float32) for a, b in PARTS])
            out = np.empty((ROWS, 2, 5, 3, 4), np.float32)[:, 1]
            for a, b in PARTS:
                out[a:b] = call(laid_out[a:b], at(a))
            same(call(x, KEY), [out])


def test_results_in_place() -> None:
    x = normal(ROWS, 21)
    y = x.copy()
    for a, b in PARTS:
        F.dropout(y[a:b], key=at(a), inplace=True)
    same(F.dropout(x, key=KEY), [y])


def test_packed_masks() -> None:
    whole = F.dropout_mask((ROWS, 21), 0.4, key=KEY)
    for a, b in PARTS:
        packed = F.dropout_mask((b - a, 21), 0.4, key=at(a), packed=True)
        bits = np.unpackbits(packed, count=(b - a) * 21, bitorder="little")
        np.testing.assert_array_equal(bits.reshape(b - a, 21), whole[a:b])
    assert F.dropout_mask((), 0.5, key=at(7)) == F.dropout_mask(8, 0.5, key=KEY)[7]


def test_a_sample_without_an_axis_of_samples() -> None:
    """Functions that take (C, ...) draw for sample `row` of a batch."""
    for name in (
        "dropout1d",
        "dropout3d",
        "fractional_max_pool2d",
        "dropout1d_backward",
        "dropout3d_backward",
    ):
        sample, call = CALLS[name]
        x = normal(ROWS, *sample)
        same(call(x, KEY), [call(x[n], at(n))[None] for n in range(ROWS)])
    np.testing.assert_array_equal(
        F.dropout3d(normal(3, 1, 1, 2), key=FAR), reference.dropout3d(normal(3, 1, 1, 2), key=FAR)
    )


def test_weights_have_no_rows() -> None:
    weight = normal(6, 7)
    for function in (F.drop_connect, F.drop_connect_backward):
        np.testing.assert_array_equal(function(weight, key=KEY), function(weight, key=FAR))
    with fastnn.rows_from(5):
        layer = nn.DropConnect(nn.Linear(7, 6), generator=Generator(3))
        got = layer(normal(2, 7))
    layer.generator = Generator(3)
    np.testing.assert_array_equal(layer(normal(2, 7)), got)


def test_every_function_that_takes_a_key_is_tested() -> None:
    takes = {name for name in F.__all__ if "key" in inspect.signature(getattr(F, name)).parameters}
    covered = CALLS.keys() - {"fractional_max_pool2d_backward"} | {"drop_connect", "drop_connect_backward"}
    assert takes == covered
    transforms = {type(transform) for transform in [*TRANSFORMS.values(), *MIXES]}
    public = {value for name in augment.__all__ if inspect.isclass(value := getattr(augment, name))}
    assert public == transforms | {augment.Transform}
    drawing = {
        value
        for name in nn.__all__
        if inspect.isclass(value := getattr(nn, name))
        and "generator" in inspect.signature(value).parameters
        and not any(word in name for word in ("Linear", "Conv", "Embedding"))
    }
    assert drawing == {type(layer) for layer, _ in LAYERS} | {nn.DropConnect}


# ---- keys and errors ---------------------------------------------------------------------------------------


def test_keys() -> None:
    assert Key(1, 2) == Key(1, 2, 0) == (1, 2, 0)
    assert repr(Key(1, 2, 3)) == "Key(seed=1, offset=2, row=3)"
    assert pickle.loads(pickle.dumps(FAR)) == FAR
    x = normal(3, 5)
    given: Any
    for given in ((1, 2), (1, 2, 7), (1, 2, np.int64(7))):
        np.testing.assert_array_equal(F.dropout(x, key=given), F.dropout(x, key=Key(*given)))
    assert child_key(KEY, 4)._replace(row=FAR.row) == child_key(FAR, 4)


@each("name", CALLS)
def test_rows_that_cannot_be(name: str) -> None:
    sample, call = CALLS[name]
    x = normal(2, *sample)
    wrong: Any
    for wrong in (1.0, "1", None):
        with pytest.raises(TypeError, match=r"^key must be a fastnn\.Key"):
            call(x, Key(1, 2, wrong))
    for wrong in (-1, 2**63):
        with pytest.raises(ValueError, match=r"^key must have a row in \[0, 2\*\*63\)"):
            call(x, Key(1, 2, wrong))
    with pytest.raises(ValueError, match=r"^key must have a row whose samples end before draw 2\*\*63"):
        call(x, Key(1, 2, 2**63 - 1))


def test_the_last_draws_of_a_stream() -> None:
    last = 2**63 // 8 - 3
    whole = F.dropout_mask((2, 8), key=Key(1, 2, last))
    np.testing.assert_array_equal(whole[1:], F.dropout_mask((1, 8), key=Key(1, 2, last + 1)))
    np.testing.assert_array_equal(whole, reference.dropout_mask((2, 8), key=Key(1, 2, last)))
    with pytest.raises(ValueError, match="whose samples end"):
        F.dropout_mask((4, 8), key=Key(1, 2, last))


def test_nothing_is_written_for_a_row_that_cannot_be() -> None:
    x = normal(2, 8)
    out = x.copy()
    with pytest.raises(ValueError, match="whose samples end"):
        F.dropout(x, key=Key(1, 2, 2**62), out=out)
    np.testing.assert_array_equal(out, x)


# ---- the context -------------------------------------------------------------------------------------------


def test_the_context_gives_keys_their_row() -> None:
    generator = Generator(3)
    with fastnn.rows_from(5):
        assert generator.key() == Key(3, 0, 5)
        with fastnn.rows_from(9):
            assert generator.key() == Key(3, 1, 9)
        assert generator.get_state() == Key(3, 2)
        assert generator.key() == Key(3, 2, 5)
        assert fastnn.random.default_generator().key().row == 5
    assert generator.key() == Key(3, 3)
    with pytest.raises(RuntimeError, match="within"), fastnn.rows_from(5):
        raise RuntimeError("within")
    assert generator.key() == Key(3, 4)


def test_the_context_is_of_its_thread() -> None:
    keys = []
    with fastnn.rows_from(5):
        thread = threading.Thread(target=lambda: keys.append(Generator(3).key()))
        thread.start()
        thread.join()
    assert keys == [Key(3, 0)]


def test_what_is_not_drawn_for_samples_has_no_row() -> None:
    made: Callable[[], list[Any]] = lambda: [  # noqa: E731
        Generator(3).numpy().random(),
        Generator(3).spawn(2)[1].seed,
        Generator(3).take(2),
        Generator(3).get_state(),
        Generator(3).set_state(FAR).get_state(),
        pickle.loads(pickle.dumps(Generator(3))).get_state(),
        nn.Linear(3, 2, generator=Generator(3)).weight.data.tolist(),
    ]
    outside = made()
    with fastnn.rows_from(7):
        assert made() == outside


def test_a_first_row_that_cannot_be() -> None:
    wrong: Any
    for wrong in (1.0, "1", None):
        with pytest.raises(TypeError, match=r"^first must be an integer"), fastnn.rows_from(wrong):
            pass
    for wrong in (-1, 2**63):
        with (
            pytest.raises(ValueError, match=r"^first must be in \[0, 2\*\*63\), got "),
            fastnn.rows_from(wrong),
        ):
            pass


# ---- layers ------------------------------------------------------------------------------------------------

#: Layers that draw for samples, and the shape of a sample.
LAYERS: list[tuple[nn.Module, tuple[int, ...]]] = [
    (nn.Dropout(0.3), (7, 3)),
    (nn.Dropout1d(0.3), (3, 5)),
    (nn.Dropout2d(0.3), (3, 5, 2)),
    (nn.Dropout3d(0.3), (3, 5, 1, 2)),
    (nn.AlphaDropout(0.3), (7, 3)),
    (nn.DropPath(0.3), (7, 3)),
    (nn.RReLU(), (7, 3)),
    (nn.FractionalMaxPool2d(2, output_size=3), (3, 5, 6)),
]


def passes(layer: nn.Module, x: Array, state: Key, row: int) -> tuple[Array, Array]:
    """Return y, and dx for dy = y, of samples from number `row` on."""
    fastnn.random.default_generator().set_state(state)
    with fastnn.rows_from(row):
        y = layer(x)
        return y, layer.backward(y.copy())


def check_layer(layer: nn.Module, x: Array) -> None:
    """Fail unless the layer's passes on parts are those on the whole."""
    state = Key(11, 2)
    whole = passes(layer, x, state, 0)
    assert not np.array_equal(whole[0][: ROWS // 2], passes(layer, x[ROWS // 2 :], state, 0)[0][: ROWS // 2])
    parts = [passes(layer, x[a:b], state, a) for a, b in PARTS if a < b]
    for k in (0, 1):
        same(whole[k], [part[k] for part in parts])


@pytest.mark.parametrize(("layer", "sample"), LAYERS, ids=lambda value: str(value))
def test_layers(layer: nn.Module, sample: tuple[int, ...]) -> None:
    check_layer(layer, normal(ROWS, *sample))


def _norm(layer: Any) -> Any:
    layer.running_mean[...], layer.running_var[...] = 0.5, 2.0
    return layer.eval()


NETWORKS: dict[str, tuple[tuple[int, ...], Callable[[], list[nn.Module]]]] = {
    "relu and dropout": ((7, 3), lambda: [nn.ReLU(), nn.Dropout(0.3)]),
    "batch norm": ((5, 3, 2), lambda: [_norm(nn.BatchNorm2d(5)), nn.ReLU(), nn.Dropout(0.3)]),
    "features": ((5,), lambda: [_norm(nn.BatchNorm1d(5)), nn.Tanh(), nn.Dropout(0.3)]),
    "conv": ((2, 4, 3), lambda: [nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.Dropout(0.3)]),
    "two dropouts": ((7, 3), lambda: [nn.Dropout(0.3), nn.ReLU(), nn.Dropout(0.2)]),
}


@pytest.mark.parametrize("name", NETWORKS)
@each("fused", [True, False])
def test_networks(isa: str, name: str, fused: bool) -> None:
    sample, layers = NETWORKS[name]
    fastnn.manual_seed(5)
    with fastnn.fusion(fused):
        check_layer(nn.Sequential(*layers()), np.abs(normal(ROWS, *sample)) + 0.1)


def test_linear_and_dropout() -> None:
    """Products of other numbers of rows may differ in the last bits, what is dropped may not."""
    fastnn.manual_seed(5)
    model, x = nn.Sequential(nn.Linear(6, 7), nn.Dropout(0.3)), normal(ROWS, 6)
    whole = passes(model, x, Key(1, 2), 0)[0]
    parts = np.concatenate([passes(model, x[a:b], Key(1, 2), a)[0] for a, b in PARTS if a < b])
    np.testing.assert_array_equal(whole == 0, parts == 0)
    np.testing.assert_allclose(whole, parts, rtol=1e-5)


@each("channels_last", [False, True])
@each("dtype", [np.float32, np.float64, np.float16])
@each("sample", [(5, 3, 7), (16, 5, 5), (1, 5, 3), (9,), (64, 33, 40)])
def test_chains(isa: str, channels_last: bool, dtype: Any, sample: tuple[int, ...]) -> None:
    x = normal(5, *sample, dtype=dtype)
    if channels_last and len(sample) == 3:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    chain = fastnn.fuse(stages.Activation("relu"), stages.Dropout(0.3))

    def both(a: int, b: int) -> Iterator[Array]:
        y, saved = chain.forward(x[a:b], key=at(a))
        yield from (y, chain.backward(y.copy(), saved).input)

    for whole, *parts in zip(
        both(0, 5), *[both(a, b) for a, b in [(0, 1), (1, 3), (3, 3), (3, 5)]], strict=True
    ):
        same(whole, parts)


# ---- transforms --------------------------------------------------------------------------------------------

TRANSFORMS: dict[str, augment.Transform] = {
    "horizontal": augment.RandomHorizontalFlip(),
    "vertical": augment.RandomVerticalFlip(),
    "crop": augment.RandomCrop(5, padding=2, fill=3),
    "resized_crop": augment.RandomResizedCrop(6),
    "affine": augment.RandomAffine(20, (0.2, 0.1), (0.8, 1.2), 5, "bilinear"),
    "rotation": augment.RandomRotation(30),
    "colours": augment.ColorJitter(0.3, 0.3, 0.3),
    "noise": augment.GaussianNoise(),
    "erasing": augment.RandomErasing(0.8, value="random"),
    "erasing, filled": augment.RandomErasing(0.8),
    "compose": augment.Compose(
        [
            augment.RandomHorizontalFlip(),
            augment.RandomCrop(6, padding=1),
            augment.GaussianNoise(),
            augment.RandomErasing(value="random"),
        ]
    ),
}
MIXES = [augment.MixUp(num_classes=4), augment.CutMix(num_classes=4)]


def images(dtype: Any, *size: int) -> Array:
    drawn = np.random.default_rng(0).integers(0, 256, (ROWS, *size))
    return drawn.astype(dtype) if dtype == np.uint8 else (drawn / 255).astype(dtype)


@pytest.mark.parametrize("name", TRANSFORMS)
@each("dtype", [np.uint8, np.float32, np.float64])
@each("start", [KEY, FAR])
def test_transforms(name: str, dtype: Any, start: Key) -> None:
    transform, x, y = TRANSFORMS[name], images(dtype, 3, 7, 9), np.arange(ROWS)
    assert not transform.mixes_samples
    whole = transform(x, y, key=start)
    assert not np.array_equal(whole[0][:4], transform(x, y, key=at(1, start))[0][:4])
    parts = [transform(x[a:b], y[a:b], key=at(a, start)) for a, b in PARTS]
    for k in (0, 1):
        same(whole[k], [part[k] for part in parts])


def test_noise_on_threads(threads: None) -> None:
    x = images(np.float32, 3, 37, 41)
    noise = augment.GaussianNoise(clip=False)
    for count in (1, 3):
        fastnn.set_num_threads(count)
        same(noise(x, key=KEY), [noise(x[a:b], key=at(a)) for a, b in PARTS])


def test_the_draws_of_transforms_are_those_of_the_stream() -> None:
    numbers = augment.draws.uniform(at(5), 3, 3)
    np.testing.assert_array_equal(numbers, augment.draws.uniform(KEY, 8, 3)[5:])


@pytest.mark.parametrize("mix", MIXES, ids=repr)
def test_mixtures_need_the_whole_batch(mix: augment.Transform) -> None:
    x, y = images(np.float32, 3, 5, 5), np.arange(ROWS) % 4
    composed = augment.Compose([augment.RandomHorizontalFlip(), mix, preprocessing.Standardize().fit(x)])
    for transform in (mix, composed):
        assert transform.mixes_samples
        name = type(mix).__name__
        with pytest.raises(ValueError, match=rf"^{name}: key must have row 0, .* got row 3$"):
            transform(x, y, key=at(3))
        with pytest.raises(ValueError, match="row 0"), fastnn.rows_from(2):
            transform(x, y)
        transform(x, y, key=KEY)
    assert not augment.Compose([augment.RandomHorizontalFlip()]).mixes_samples


def test_predictions_of_changed_copies() -> None:
    x = images(np.float64, 3, 5, 5)
    transforms = [None, augment.GaussianNoise(), augment.RandomHorizontalFlip()]

    def predicted(a: int, b: int) -> Array:
        return augment.predict_tta(lambda part: part.copy(), x[a:b], transforms, key=at(a))

    same(predicted(0, ROWS), [predicted(a, b) for a, b in PARTS if a < b])


def test_a_training_batch_in_parts() -> None:
    transform, key = TRANSFORMS["compose"], child_key(KEY, 3)
    x, y = images(np.float32, 3, 7, 9), np.arange(ROWS)
    whole = transformed_batch(transform, x, y, key)
    parts = [transformed_batch(transform, x[a:b], y[a:b], key._replace(row=a)) for a, b in PARTS]
    same(whole[0], [part[0] for part in parts])
