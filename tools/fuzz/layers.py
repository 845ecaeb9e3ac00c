"""Cases of fastnn.nn: a layer is made, called and taken backward, with weights in random memory.

The shapes are those of the functions behind it. A new class of a file that is there needs no new line.
"""

from __future__ import annotations

import inspect

import numpy as np

from fastnn import nn, reference

from . import functions, shapes
from .arrays import Draw, Shape
from .case import Case
from .parameters import NoRecipeError, value_of
from .shapes import Plan, constants

# Files whose classes hold layers and compute nothing themselves; chains.py has Sequential and Residual.
HOLDERS = {"container", "lists", "module", "residual"}
VARIABLE = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
# The elements at the indices that a pool returns are its result.
PLACES = (
    "y, indices = y",
    "planes = lambda a: a.reshape(*a.shape[:-2], a.shape[-2] * a.shape[-1])",
    "there = np.take_along_axis(planes(input), planes(indices), -1).reshape(y.shape)",
    "result = {'y': y, 'indices': indices, 'same': np.array_equal(there, y, equal_nan=True)}",
)
PLACES_ARE_RIGHT = "result = {'y': y, 'indices': indices, 'same': True}"


def _along_dim(d: Draw, name: str, plan: Plan) -> None:
    (shapes.softmax if "oftmax" in name else shapes.gated)(d, name, plan)


def _slope(d: Draw, name: str, plan: Plan) -> None:
    if name == "Maxout":
        return shapes.gated(d, "maxout", plan)
    shapes.slope(d, name, plan)
    plan.values |= constants(num_parameters=max(plan.shapes["weight"], default=1))


def _norm(d: Draw, name: str, plan: Plan) -> None:
    kind = {"LayerNorm": "layer_norm", "RMSNorm": "rms_norm", "GroupNorm": "group_norm"}.get(
        name, "instance_norm"
    )
    shapes.norm(d, kind, plan)
    shape = plan.shapes["input"]
    if kind == "instance_norm":
        shape = plan.shapes["input"] = _of_dims(d, int(name[-2]) + 2)
    plan.values |= constants(
        num_channels=shape[1] if len(shape) > 1 else 1, num_features=shape[1] if len(shape) > 1 else 1
    )


def _of_dims(d: Draw, dims: int) -> Shape:
    shape = d.shape(dims, dims)
    return (shape[0], max(shape[1], 1), *shape[2:])


def _batch_norm(d: Draw, name: str, plan: Plan) -> None:
    spatial = int(name[-2]) if name[-1] == "d" else d.pick((1, 2, 3))
    plan.shapes["input"] = _of_dims(d, spatial + 2 - (spatial == 1 and d.chance(0.5)))
    plan.values = constants(num_features=plan.shapes["input"][1])


def _conv(d: Draw, name: str, plan: Plan) -> None:
    shapes.conv(d, name.lower(), plan)
    outs, _, *kernel = plan.shapes["weight"]
    plan.values |= constants(
        in_channels=plan.shapes["input"][1 - len(kernel) - 2],
        out_channels=outs,
        kernel_size=tuple(kernel),
        padding_mode="zeros",
    )


def _pool(d: Draw, name: str, plan: Plan) -> None:
    shapes.pool(d, name.lower(), plan)


def _linear(d: Draw, name: str, plan: Plan) -> None:
    shape = d.shape(1)
    plan.shapes["input"] = shape
    plan.values = constants(in_features=shape[-1], out_features=d.pick((1, 2, 3, 8, 17, 64)))


def _dropout(d: Draw, name: str, plan: Plan) -> None:
    shapes.dropout(d, {"DropPath": "drop_path"}.get(name, name.lower()), plan)
    if name == "DropConnect":
        plan.shapes["input"] = (d.size(20), 3)
        plan.values |= constants(linear=nn.Linear(3, 5))


def _loss(d: Draw, name: str, plan: Plan) -> None:
    kinds = {"CrossEntropyLoss": "cross_entropy", "HingeLoss": "hinge_loss", "NLLLoss": "nll_loss"}
    kinds |= {"BCELoss": "binary_cross_entropy"}
    shapes.loss(d, kinds.get(name, "mse_loss"), plan)


def _embedding(d: Draw, name: str, plan: Plan) -> None:
    shapes.embedding(d, "embedding", plan)
    rows, columns = plan.shapes.pop("weight")
    plan.values |= constants(num_embeddings=rows, embedding_dim=columns)


def _flatten(d: Draw, name: str, plan: Plan) -> None:
    plan.shapes["input"] = d.shape()
    plan.values = dict.fromkeys(("start_dim", "end_dim", "dim"), lambda: d.pick((0, 1, 1, 2, -1, -2, 5)))
    sizes = (-1,), (1, -1), [2, -1], (-1, -1), (), (3, 2), (0, -1), (-2, 1), (2**40, -1), (1.0,)
    plan.values["unflattened_size"] = lambda: d.pick(sizes)


FAMILIES: dict[str, shapes.Family] = {
    "activation": shapes.one_shape,
    "along_dim": _along_dim,
    "batchnorm": _batch_norm,
    "conv": _conv,
    "dropout": _dropout,
    "embedding": _embedding,
    "flatten": _flatten,
    "linear": _linear,
    "loss": _loss,
    "norm": _norm,
    "pool": _pool,
    "slope": _slope,
    "syncbatchnorm": _batch_norm,
}


def names() -> list[str]:
    """All layers."""
    found = {name: getattr(nn, name) for name in nn.__all__}
    layers = {n: v for n, v in found.items() if isinstance(v, type) and issubclass(v, nn.Module)}
    return [n for n, cls in layers.items() if cls is not nn.Activation and _file_of(cls) not in HOLDERS]


def _file_of(cls: type) -> str:
    return cls.__module__.rpartition(".")[2]


def case_of(d: Draw, name: str) -> Case:
    """The layer is made, called and taken backward; its weights are put into random memory first."""
    cls = getattr(nn, name)
    file = _file_of(cls)
    if file not in FAMILIES:
        raise NoRecipeError(
            f"no recipe for nn.{name}: the shapes of its file, {file}, are not in layers.FAMILIES"
        )
    plan = Plan()
    FAMILIES[file](d, name, plan)
    parameters = {k: p for k, p in inspect.signature(cls).parameters.items() if p.kind not in VARIABLE}
    arguments = {}
    for key, parameter in parameters.items():
        if parameter.default is not parameter.empty and d.chance(0.3) and key not in plan.values:
            continue
        if key in ("weight", "pos_weight"):
            arguments[key] = functions.argument(d, name, key, parameter, plan)
        elif key == "dtype":
            arguments[key] = d.dtype if d.chance(0.95) else d.pick(("float32", "f2", int, "x", None))
        else:
            arguments[key] = value_of(d, key, parameter, plan.values.get(key))
    made = ", ".join(f"{key}={key}" for key in arguments)
    case = Case(
        f"nn.{name}", "", arguments, {*parameters, "input", "dy", "x", "target", "weight", "bias", "dim"}
    )
    case.huge = functions.is_huge(arguments)
    sums_over_rows = file == "linear" or name == "DropConnect"
    norm = file in ("batchnorm", "syncbatchnorm") or name.startswith(("GroupNorm", "InstanceNorm"))
    case.rounding = 256.0 * (sums_over_rows or norm)
    lines = [f"layer = nn.{name}({made})"]
    if d.chance(0.3):
        lines.append("layer.eval()")
    if file == "loss":
        return _loss_case(d, case, lines, plan)
    d.swaps = file not in ("linear", "conv") and name != "DropConnect"  # these take native arrays
    inplace = bool(arguments.get("inplace")) and file != "activation"  # an activation layer does not write
    case.written = {"input"} if inplace else set()
    arguments["input"] = d.array(plan.shapes["input"] if d.chance(0.97) else d.shape(), writable=inplace)
    if sums_over_rows:  # gradients of products are sums over the rows of the input
        case.rounding = max(case.rounding, arguments["input"].size)
    lines += ["y = layer(input)", "result = {'y': y}"]
    if arguments.get("return_indices"):
        lines[-1:] = (PLACES[0], "planes = lambda a: a", *PLACES[2:]) if "1d" in name else PLACES
    case.source = "\n".join(lines)
    if not case.huge:
        _add_backward(d, case, lines)
    case.plain_source = case.source.replace(PLACES[-1], PLACES_ARE_RIGHT)
    if d.values != "special" and not (d.extreme or case.huge):
        _add_reference(case, cls)
    return case


def _loss_case(d: Draw, case: Case, lines: list[str], plan: Plan) -> Case:
    for key in ("input", "target"):
        case.arguments[key] = plan.array_of(d, key)(plan.shapes[key])
    case.source = "\n".join([*lines, "loss = layer(input, target)", "result = loss, layer.backward()"])
    return case


def _add_backward(d: Draw, case: Case, lines: list[str]) -> None:
    """The gradient of a call that succeeds, with all that it leaves in the layer."""
    try:
        namespace = case.run(case.copies(), "\n".join([*lines, "result = result, layer"]))
    except Exception:
        return
    result, layer = namespace
    for key in ("weight", "bias"):  # the layer's own values in another memory
        owner = getattr(layer, key, None)
        if (
            isinstance(owner, nn.Parameter)
            and isinstance(owner.data, np.ndarray)
            and d.chance(0.4)
            and key not in case.arguments
        ):
            case.arguments[key + "_data"] = d.array(owner.data.shape, owner.data.dtype, owner.data)
            lines.insert(lines.index("y = layer(input)"), f"layer.{key}.data = {key}_data")
    y = result["y"]
    case.arguments["dy"] = d.array(
        # A refused dy would come after a forward pass that has written its result into the input.
        y.shape if d.chance(0.96) or case.written else d.shape(),
        y.dtype if d.chance(0.9) else None,
    )
    case.earlier = case.written
    lines += [
        "result['dx'] = layer.backward(dy)",
        "result |= {name: p.grad for name, p in layer.named_parameters()}",
        "result |= {'state ' + name: array for name, array in layer.named_buffers()}",
    ]
    case.source = "\n".join(lines)


def _add_reference(case: Case, cls: type) -> None:
    """Compare with the reference's function, or with the layer's formula."""
    made = case.source[: case.source.index("y = layer(input)")]
    weights = f"{made}weight, bias = layer.weight.data, getattr(layer.bias, 'data', None)"
    function = getattr(cls, "function", None)
    if function in reference.__all__:
        names = [n for n in inspect.signature(getattr(reference, function)).parameters if n in case.arguments]
        given = "".join(f", {n}={n}" for n in names if n != "input")
        saved = list(inspect.signature(getattr(reference, f"{function}_backward")).parameters)[1]
        lines = [f"output = F.{function}(input{given})", "result = {'y': output}"]
        gradient = [f"result['dx'] = F.{function}_backward(dy, {saved}{given})"]
        case.tolerance = 16.0
    elif cls is nn.Linear:
        lines = [weights, "result = {'y': input @ weight.T + (0 if bias is None else bias)}"]
        gradient = [
            "rows = dy.reshape(-1, dy.shape[-1])",
            "result |= {'dx': dy @ weight, 'weight': rows.T @ input.reshape(-1, input.shape[-1])}",
            "result['bias'] = rows.sum(0)",
        ]
        case.tolerance = 256.0
    elif cls in (nn.Conv1d, nn.Conv2d) and case.arguments.get("padding_mode", "zeros") == "zeros":
        numbers, name = "layer.stride, layer.padding, layer.dilation, layer.groups", cls.__name__.lower()
        lines = [weights, f"result = {{'y': F.{name}(input, weight, bias, {numbers})}}"]
        gradient = [
            f"gradients = F.{name}_backward(dy, input, weight, {numbers})",
            "result |= zip(('dx', 'weight', 'bias'), gradients)",
        ]
        case.tolerance = 256.0
    else:
        return
    case.reference = "\n".join([*lines, *gradient * ("dy" in case.arguments)])
