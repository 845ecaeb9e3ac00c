"""Files of weights as other programs write them, without those programs."""

from __future__ import annotations

import json
import pickle
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fastnn import nn, optim
from fastnn._core.typing import Array
from support.cases import each

pytest.importorskip("safetensors")


def safetensors(path: Path, dtype: str, array: Array) -> Path:
    """A file of one tensor, "weight", written from the format's description."""
    content = array.tobytes()
    about = {"weight": {"dtype": dtype, "shape": array.shape, "data_offsets": [0, len(content)]}}
    head = json.dumps(about).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + content)
    return path


def loaded(path: Path, shape: tuple[int, ...]) -> Array:
    layer = nn.Linear(shape[1], shape[0], bias=False)
    layer.load_state_dict(path)
    return layer.weight.data


@each(("dtype", "name"), [("BF16", "bfloat16"), ("F8_E4M3", "float8_e4m3fn"), ("F8_E5M2", "float8_e5m2")])
def test_small_floats(dtype: str, name: str, tmp_path: Path) -> None:
    numbers = np.dtype(getattr(ml_dtypes, name))
    bits = np.arange(256**numbers.itemsize, dtype=f"u{numbers.itemsize}").reshape(16, -1)
    got = loaded(safetensors(tmp_path / "a.safetensors", dtype, bits), bits.shape)
    np.testing.assert_array_equal(got, bits.view(numbers).astype(np.float32))


@each("dtype", ["F16", "F32", "F64", "I8", "U16", "I64", "BOOL"])
def test_numpy_s_dtypes(dtype: str, tmp_path: Path) -> None:
    kind = {"F": "f", "I": "i", "U": "u"}.get(dtype[0])
    array = np.array([[0, 1], [1, 1]], f"<{kind}{int(dtype[1:]) // 8}" if kind else "?")
    np.testing.assert_array_equal(
        loaded(safetensors(tmp_path / "a.safetensors", dtype, array), (2, 2)), array
    )


def test_small_floats_that_have_no_float32(tmp_path: Path) -> None:
    path = safetensors(tmp_path / "a.safetensors", "F8_E8M0", np.zeros((2, 2), np.uint8))
    with pytest.raises(ValueError, match=r"a.safetensors: weight must be of F16, .*, F8_E4M3, got F8_E8M0$"):
        loaded(path, (2, 2))
    with pytest.raises(TypeError, match=r"^/.*a.safetensors: state_dict\['weight'\] must have a dtype .* f"):
        loaded(safetensors(tmp_path / "a.safetensors", "C64", np.zeros((2, 2), "c8")), (2, 2))


def fake_torch(load: Callable[..., Any]) -> SimpleNamespace:
    return SimpleNamespace(load=load)


@each(
    ("error", "message"),
    [
        (pickle.UnpicklingError("\x1b[1mdo\x1b[0m GLOBAL app.Net was not"), "got an object of app.Net, "),
        (pickle.UnpicklingError("\x1b[1minvalid load key"), "got another object, or a damaged file"),
        (RuntimeError("failed reading zip archive. \x1b[1mLong"), "torch.save: failed reading zip archive$"),
        (EOFError(), "is not a whole file of torch.save: cut off"),
    ],
)  # fmt: skip
def test_what_torch_does_not_read(
    error: Exception, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setitem(sys.modules, "torch", fake_torch(load))
    (tmp_path / "model.pt").touch()
    with pytest.raises(ValueError, match=message) as caught:
        nn.Linear(2, 2).load_state_dict(tmp_path / "model.pt")
    assert "\x1b" not in str(caught.value)


def test_num_batches_tracked_may_be_missing() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state = model.state_dict()
    model(np.ones((2, 2), np.float32))
    tracked = state.pop("1.num_batches_tracked")
    assert model.load_state_dict(state) == ([], [])
    assert model.state_dict()["1.num_batches_tracked"] == tracked + 1
    del state["1.running_mean"]
    with pytest.raises(ValueError, match=r"missing names \['1.running_mean'\], unknown names \[\]"):
        model.load_state_dict(state)


def test_sgd_s_states_of_torch_do_not_count() -> None:
    def after_a_step(state: dict[str, Any]) -> Array:
        parameter = nn.Parameter(np.ones(3))
        optimizer = optim.SGD([parameter], lr=1, momentum=0.5, dampening=0.5)
        optimizer.load_state_dict({**optimizer.state_dict(), "state": {0: state}})
        parameter.grad = np.ones(3)
        optimizer.step()
        return parameter.data

    np.testing.assert_array_equal(after_a_step({"momentum_buffer": np.ones(3)}), [0, 0, 0])
    with pytest.raises(ValueError, match="the state of parameter 0 lacks 'momentum_buffer'"):
        after_a_step({})
