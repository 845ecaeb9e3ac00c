"""Files of weights as other programs write them, without those programs."""

from __future__ import annotations

import base64
import json
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from fastnn import nn, optim
from fastnn._core.typing import Array
from fastnn._core.weight_files import read_weights
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


#: Files of torch.save (2.13), packed: {"model": {"module.weight": every second of 12 numbers, transposed,
#: "module.bias": bfloat16}, "epoch": 7}, as a zip archive and in the older form.
TORCH_FILES = {
    "zip": (
        "c-o~^O>fgc5Z&0RW1KcgOKE8j72JYUQrl^r1k^7J`C=qO5K_b?a-D5#;l^Ei(*mMWB$P`15g^X|0mQ9;p%+dZkT`LIBS&^)n"
        "%a)iKv`w7a<uQw+nISzRcDg`@H`k=IWPkZ&$R3VxY9JRQP_X(Xle#Li>xklgh0MNK>&Mh6FMkygqVDNDtPWVuy6?NmW2^(Vw"
        "bQL8XasqzR>XCPRDkd4Gi19>opE!0VVVKdWryja?)r)G!Z}q&2bI<B=}K4Ts=X~h$vNO$!_j<5U)>SbnUU8&{>^1MuN`h+%Z"
        "a@n5OGE(8RXe_Jv1Y6MC@uz&5dfChyeH6h@gE%GT2tQg>{_M>&h=u+DR<{p6A|NI%_AFQFNW*IA6NKh}ZH_Ry@J=%E`Y7G<8"
        "pXugJScKTI;`>tuB1wGX%RP_}97XI8_CJZ#HBWphovV+<ec3p4Jz>Ndw`Q#>=nhv)>qNE>xe0f7v(HKp-2uc^Ee`?$?9J|%t"
        "gKey-#aL_qYALH!z~&+P&X5$$r2?kG=0L#COAKAw5>35-mAvQ6u`zZa)zDl2w!o1r+@%^aU?VcsE25^}`wsyDYj=};ZIKU&E"
        "{XRfPDy+v0k(;kNZcYJZd0W%j&?UhI>Td>&PJ6=nwlF@N=kaVwMAKP&wc8Rzke324_F5iRk?ZriUQ4j_OA7GeE*k#d@+FiEB"
        "Vl~$ppSKs7D)iQ&S87C`DXTBuOl<$wft~C?#=CuB?icqFhoWxm;E%a<N=mm5K^g`Qf3H&J!K^zRCm@JJ1>SWo}4${5=>)hYd"
        "I%LB39aQBIDNgiW*<Avp_^3^_N>6E?zhgr~-UVFSkD;pxmo;GY=~^G+Nap1~-#%f_%$92=gYY&35OJEC^s)-FZwoCITruBvm"
        "~^7)9ecLzv5wx^k3|CJ1Of}{UdfK3I@!P|F&3ov~Dd~o(R3V4*1"
    ),
    "older": (
        "c-n1HO;6iE5MA3zOgDjseo<~5!zBt}LO79Bh|3CE!euYW3ic{qwDo4}HHb=)av^H^8+z!GpOK%^D?b6L2gXJ;99ZoeX=Z2Vy"
        "?GP+7ghg$A3bbb-hEqdPVD1*2jdt>gVzZmqeL4WXysptB$YY_3mf<{z9?yo626E-If%jj$tf1i%}DsE{2@|s#!zbTG8WTFCk"
        "D#Q<_=~uHc(+DUdm_acnB^lW!W=l-v3>PLV+~~yHPM<o+;717IGLFZ~~)~AZq%Vkt(HrA}%tiLf?ou)ro(#O_8_3-JBRZ2SW"
        "knr!VwK>47<WDpIKM73|sH>3HqVPHVT*_Bt(a3yr}jgC$lwG4SS;S<GSf6ezP<WeU|<fOaSm7<410Uz1QIB0Q9Vp-|iG!?J;"
        "uKD_1Ch42eGNTD8~s_0qCmqN-``@fjgg_u3h+uCpMwLEwiEing0ygy}xIk)hES-0?U7Uevj46OCxb5=MeMmmUKow>P>=edus"
        "OtW6w*A~ru;o=;SdAD05FVExvLl-Y%g7|}&BmN>tkB~ZI1JUX|0x7zfN&"
    ),
}


def torch_file(form: str) -> bytes:
    return zlib.decompress(base64.b85decode(TORCH_FILES[form]))


@each("form", TORCH_FILES)
def test_torch_s_files_without_torch(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    path = tmp_path / "model.pth"
    path.write_bytes(torch_file(form))
    checkpoint = read_weights(path)
    assert checkpoint["epoch"] == 7
    weight, bias = checkpoint["model"].values()
    np.testing.assert_array_equal(weight, np.arange(12, dtype=np.float32).reshape(2, 6)[:, 1::2].T)
    np.testing.assert_array_equal(bias, np.array([0.5, -2, 3], np.float32))
    assert isinstance(weight.base, np.memmap)
    with pytest.raises(ValueError, match=r"model.pth: state_dict must have .* in its 'model': load_state"):
        nn.Linear(2, 3).load_state_dict(path)


@each(
    ("old", "new", "message"),
    [
        (b"torch\nFloatStorage", b"os\nsystem", r"must hold tensors by name, .* object of os.system, which"),
        (b"_rebuild_tensor_v2", b"_rebuild_nobody", r"got an object of torch._utils._rebuild_nobody, which"),
        (b"torch\nFloatStorage", b"collections\nOrderedDict", "torch.save: there is no storage of"),
        (b"storage", b"garbage", "torch.save: there is no storage of .'garbage'"),
        (b"K\x06\x86", b"K\x07\x86", "model.pth is not a whole file of torch.save: .* is incompatible with"),
        (b"K\x01K\x03K\x02", b"K\x08K\x03K\x02", "model.pth is not a whole file of torch.save: .*buffer"),
        (b"}q\x00", b"}b\x00", "torch.save: not a pickle"),
    ],
)
def test_torch_s_files_that_are_refused(old: bytes, new: bytes, message: str, tmp_path: Path) -> None:
    path, content = tmp_path / "model.pth", torch_file("older")
    start = content.index(b"}q\x00(X\x05\0\0\0model")  # the object's own pickle
    assert old in content[start:]
    path.write_bytes(content[:start] + content[start:].replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        read_weights(path)


def test_torch_s_files_that_are_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    for form in TORCH_FILES:
        content = torch_file(form)
        for end in {*range(0, len(content), 61), len(content) - 1}:
            path.write_bytes(content[:end])
            with pytest.raises(
                ValueError, match=r"^state_dict: .*model.pth is not a whole file of torch.save"
            ):
                read_weights(path)


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
