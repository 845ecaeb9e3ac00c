"""Cases of fused chains: fastnn.fuse with random stages, and nn.Sequential fused and layer by layer."""

from __future__ import annotations

from typing import Any

from fastnn import Key, _kernels

from . import functions, shapes
from .arrays import FLOATS, Draw
from .case import Case
from .shapes import WRITTEN, Plan

HEADS = (
    "",
    "stages.Bias()",
    "stages.ScaleShift()",
    "stages.BatchNorm()",
    "stages.BatchNorm(training=False)",
    "stages.BatchNorm(momentum=None, eps=1e-3)",
)
NAMES = {
    "input",
    "weight",
    "bias",
    "running_mean",
    "running_var",
    "num_batches_tracked",
    "key",
    "residual",
    "dy",
    "stage",
    "stages",
    "x",
    "out",
}


def _activation(d: Draw) -> str:
    rows = [
        n
        for n, (_, defaults) in _kernels.activations().items()
        if n != "gelu_tanh" and None not in defaults.values()
    ]
    return f"stages.Activation({d.pick(rows)!r})"


def fused_case(d: Draw) -> Case:
    """A chain forward and backward, with what its stages take and now and then with what they do not."""
    head = d.pick(HEADS)
    rest = [_activation(d) for _ in range(d.below(3))]
    drops, adds = d.chance(0.4), d.chance(0.4)
    rest += [f"stages.Dropout({d.pick((0.0, 0.25, 0.5, 1.0))})"] * drops + ["stages.Add()"] * adds
    d.rng.shuffle(rest)
    stages = [head] * bool(head) + rest or ["stages.Bias()"]
    plan = Plan()
    shapes.batch_norm(d, "batch_norm", plan)
    shape = plan.shapes["input"]
    arguments: dict[str, Any] = {"input": d.array(shape)}
    wanted = {
        "weight": "Scale" in head or ("Norm" in head and d.chance(0.7)),
        "bias": bool(head) and d.chance(0.9),
    }
    statistics = "Norm" in head and (d.chance(0.6) or "False" in head)
    wanted |= dict.fromkeys(("running_mean", "running_var"), statistics) | {
        "num_batches_tracked": statistics and ("None" in head or d.chance(0.5))
    }
    for key, want in wanted.items():
        if want != d.chance(0.02):
            maker = plan.array_of(d, key)
            value = maker(plan.shapes.get(key, shape[1:2]))
            arguments |= {key: value} if value is not None else {}
    if drops:
        arguments["key"] = Key(d.below(99), d.below(9))
    if adds != d.chance(0.02):
        arguments["residual"] = d.array(shape if d.chance(0.97) else d.shape())
    given = ", ".join(["input", *(f"{key}={key}" for key in arguments if key != "input")])
    case = Case("fuse", "", arguments, NAMES, WRITTEN & arguments.keys())
    case.rounding = functions.ROUNDING["batch_norm"]
    first = f"chain = fastnn.fuse({', '.join(stages)})\n"
    _finish(d, case, first, given)
    return case


def _finish(d: Draw, case: Case, first: str, given: str) -> None:
    bare = f"{first}result, saved = chain.forward({given})"
    case.source = bare
    try:
        y = case.run(case.copies())
    except Exception:
        return
    if d.chance(0.3):
        functions.add_out(d, case, bare, f"{first}result, saved = chain.forward({given}, out=out)")
        return
    case.arguments["dy"] = d.array(y.shape if d.chance(0.97) else d.shape(), y.dtype)
    first = f"{first}y, saved = chain.forward({given})\n"
    case.earlier = case.written
    case.source = bare = f"{first}result = chain.backward(dy, saved)"
    if d.chance(0.3):
        functions.add_out(d, case, bare, f"{first}result = chain.backward(dy, saved, out=out)")


LAYERS = (
    "nn.ReLU()",
    "nn.GELU()",
    "nn.Tanh()",
    "nn.Dropout(0.5)",
    "nn.PReLU()",
    "nn.LeakyReLU(0.25)",
    "nn.SiLU()",
    "nn.Identity()",
)


def sequential_case(d: Draw) -> Case:
    """The result of nn.Sequential, fused, and whether it is that of the layers one by one."""
    dims = d.pick((2, 2, 3, 4))
    shape = d.shape(dims, dims)
    features = max(shape[1], 1)
    shape = (shape[0], features, *shape[2:])
    dtype = d.dtype if d.dtype in FLOATS[:2] else FLOATS[0]
    layers = [d.pick(LAYERS) for _ in range(d.below(4))]
    norm = f"nn.BatchNorm{max(dims - 1, 2) - 1}d({features}, dtype=np.{dtype.name})"
    layers.insert(d.below(len(layers) + 1), norm)
    if dims == 2 and d.chance(0.5):
        layers.insert(0, f"nn.Linear({features}, {features}, dtype=np.{dtype.name})")
    if d.chance(0.3):
        layers = [f"nn.Residual(nn.Sequential({', '.join(layers)}))", *layers[:1]]
    same = "np.array_equal(fused[0], alone[0], equal_nan=True)"
    source = f"""def run(fused, input):
    fastnn.manual_seed(2)
    model = nn.Sequential({", ".join(layers)}).train({d.chance(0.7)})
    with fastnn.fusion(fused):
        return model(input), model.state_dict()
plain = np.ascontiguousarray(input)
fused, alone = run(True, plain), run(False, plain)
result = *run(True, input), {same}"""
    d.swaps = False
    case = Case("nn.Sequential", source, {"input": d.array(shape, dtype)}, {"input", "x", "num_features"})
    case.plain_source = source.replace(same, "True")
    case.rounding = 2.0**14  # batch norm makes the difference of two sums of a product larger
    return case
