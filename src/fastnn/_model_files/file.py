"""fastnn.save and fastnn.load: a model and what prediction needs besides, in one .safetensors file.

The tensors are the model's, by the names of its state_dict, and the preprocessing's. All else is one JSON
text in the file's metadata: {"format", "fastnn", "model", "preprocessing", "classes", "others", "tied",
"about"}; `others` are the names of the tensors that are not the model's, `tied` lists of the names that one
parameter has. architecture.py says how a model is described.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fastnn._core.arrays import as_array
from fastnn._core.files import save_weights
from fastnn._core.typing import Array
from fastnn._core.weight_files import MODEL_ENTRY, model_entry, read_safetensors
from fastnn._model_files.architecture import Builder, describe
from fastnn._model_files.predictor import Predictor
from fastnn._version import __version__
from fastnn.nn import Module, Parameter
from fastnn.nn.module import check_model
from fastnn.preprocessing import Transformer

FORMAT = 1


def save(
    path: str | Path,
    model: Module,
    *,
    preprocessing: Transformer | None = None,
    classes: Sequence[Any] | Array | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write a model to a .safetensors file, from which `load` makes it again; whole, or not at all.

    preprocessing: a fitted transformer of fastnn.preprocessing, which made the model's inputs of the samples.
    classes: the name of each class, texts or whole numbers, in the order of the model's outputs; None for a
    model that is no classifier. about: more to be kept, as settings and metrics, of what JSON can write.
    A generator of a layer's own is not saved, nor whether parameters are frozen. A layer of your own is
    saved by its name, and by its arguments where these are attributes (nn.Module.init_arguments).

    Raises TypeError or ValueError for arguments that are not so, OSError naming the file where it cannot be
    written, ImportError without safetensors.
    """
    target = _path(path)
    check_model(model)
    if not isinstance(about, Mapping | None):
        raise TypeError(f"about must be a dict, got {type(about).__name__}")
    tensors = model.state_dict()
    steps: dict[str, Array] = {}
    if preprocessing is not None:
        prefix = _free_prefix("preprocessing.", tensors)
        steps = {prefix + name: array for name, array in _state(preprocessing).items()}
    entry = {
        "format": FORMAT,
        "fastnn": __version__,
        "model": describe(model),
        "preprocessing": describe(preprocessing),
        "classes": None if classes is None else _class_names(classes),
        "others": [*steps],
        "tied": [names for names in _names_of_parameters(model) if len(names) > 1],
        "about": _as_json("about", {} if about is None else about),
    }
    save_weights(target, tensors | steps, {MODEL_ENTRY: json.dumps(entry)})


def load(path: str | Path, *, model: Module | None = None, layers: Iterable[type[Module]] = ()) -> Predictor:
    """Read a file that `save`, or `fastnn train`, has written; return its Predictor, in evaluation mode.

    layers: the classes of layers of your own that are in it. model: one to fill, of the same parameters by
    name and shape, in the place of that which the file describes; with it, a file of weights alone will do.
    Reading a file runs nothing that is in it. Raises ValueError naming the file and what is wrong with it,
    and then `model` is as before; FileNotFoundError; TypeError for arguments that are not so.
    """
    source = _path(path)
    if model is not None:
        check_model(model)
    custom = _checked_layers(layers)
    if not source.exists():
        raise FileNotFoundError(f"path: there is no file {source}")
    tensors, metadata = read_safetensors("", source)
    builder = Builder(custom, sum(array.size for array in tensors.values()))
    try:
        return _predictor(tensors, _entry(metadata, model is None), model, builder)
    except RecursionError:
        raise ValueError(f"{source}: the model is nested too deeply") from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{source}: {error}") from None


def _predictor(
    tensors: dict[str, Array], entry: dict[str, Any], model: Module | None, builder: Builder
) -> Predictor:
    others = {name: tensors.pop(name) for name in entry["others"] if name in tensors}
    preprocessing = builder.build(entry["preprocessing"], "preprocessing")
    if preprocessing is not None:
        if not isinstance(preprocessing, Transformer):
            raise ValueError(f"preprocessing must be a transformer, got {type(preprocessing).__name__}")
        preprocessing.load_state_dict({name.partition(".")[2]: array for name, array in others.items()})
    classes = None if entry["classes"] is None else np.array(_class_names(entry["classes"]))
    made = builder.build(entry["model"], "") if model is None else model
    if not isinstance(made, Module):
        raise ValueError(f"the model must be a layer, got {type(made).__name__}")
    if model is None:
        _tie(made, entry["tied"])
    made.load_state_dict(tensors)
    return Predictor(made.eval(), preprocessing, classes, entry["about"])


def _entry(metadata: Mapping[str, str], needed: bool) -> dict[str, Any]:
    """The checked entry of a file; of weights alone one that says nothing, unless the model is needed."""
    entry = model_entry(metadata)
    empty: dict[str, Any] = dict.fromkeys(("model", "preprocessing", "classes"))
    empty |= {"others": [], "tied": [], "about": {}}
    if MODEL_ENTRY not in metadata and not needed:
        return empty
    if "format" not in entry and MODEL_ENTRY in metadata:
        raise ValueError(f"the entry {MODEL_ENTRY!r} of its metadata is damaged")
    if "format" not in entry:
        raise ValueError(
            "the file has weights, but not how the model is built, which fastnn.save writes; make the model"
            " and give it: fastnn.load(path, model=model)"
        )
    version = entry["format"]
    if type(version) is not int or not 1 <= version <= FORMAT:
        raise ValueError(
            f"the file is of format {version!r}, written by fastnn {entry.get('fastnn')}; this is fastnn"
            f" {__version__}, which reads formats up to {FORMAT}"
        )
    if missing := empty.keys() - entry.keys():
        raise ValueError(f"the metadata must have {[*empty]}, and lack {sorted(missing)}")
    for name, kind in (("others", list), ("tied", list), ("about", dict)):
        if not isinstance(entry[name], kind):
            raise ValueError(f"{name} must be a {kind.__name__}, got {entry[name]!r}")
    if not all(isinstance(name, str) for name in entry["others"]):
        raise ValueError(f"others must be names of tensors, got {entry['others']!r}")
    return entry


def _names_of_parameters(model: Module) -> list[list[str]]:
    """The names of each parameter: several, where several layers share it."""
    names: dict[Parameter, list[str]] = {}
    for prefix, module in model._dotted_modules():
        for name, parameter in module._own_parameters():
            names.setdefault(parameter, []).append(prefix + name)
    return [*names.values()]


def _tie(model: Module, groups: list[Any]) -> None:
    """Let the parameters of each group be one; ValueError for names that the model does not have."""
    owners = {
        prefix + name: (module, name, parameter)
        for prefix, module in model._dotted_modules()
        for name, parameter in [*module._own_parameters()]
    }
    for group in groups:
        if not isinstance(group, list) or not all(isinstance(name, str) and name in owners for name in group):
            raise ValueError(f"tied must be lists of names of the model's parameters, got {group!r}")
        if len({owners[name][2].shape for name in group}) > 1:
            raise ValueError(f"tied parameters must have one shape, got {group!r}")
        for other in group[1:]:
            module, name, _ = owners[other]
            setattr(module, name, owners[group[0]][2])


def _path(path: object) -> Path:
    if not isinstance(path, str | Path):
        raise TypeError(f"path must be a str or a Path, got {type(path).__name__}")
    if Path(path).suffix != ".safetensors":
        raise ValueError(f"path must end in .safetensors, got {path}")
    return Path(path)


def _checked_layers(layers: Iterable[type[Module]]) -> list[type[Module]]:
    classes = [*layers] if isinstance(layers, Iterable) else [layers]
    if not isinstance(layers, Iterable) or not all(
        isinstance(cls, type) and issubclass(cls, Module) for cls in classes
    ):
        raise TypeError(f"layers must be classes of layers, as [MyLayer], got {layers!r}")
    return classes


def _state(preprocessing: object) -> dict[str, Array]:
    """The state of the preprocessing, which is checked."""
    if not isinstance(preprocessing, Transformer):
        raise TypeError(
            f"preprocessing must be a transformer of fastnn.preprocessing, got {type(preprocessing).__name__}"
        )
    if '"custom"' in json.dumps(describe(preprocessing)):
        raise TypeError(f"preprocessing must be of fastnn's own transformers, got {preprocessing!r}")
    return preprocessing.state_dict()


def _free_prefix(prefix: str, tensors: Iterable[str]) -> str:
    """The prefix, with as many underscores before it as no tensor of the model has."""
    while any(name.startswith(prefix) for name in tensors):
        prefix = f"_{prefix}"
    return prefix


def _class_names(classes: Sequence[Any] | Array) -> list[Any]:
    """The names as JSON has them; TypeError or ValueError unless they are distinct texts or whole numbers."""
    array = as_array("classes", classes)
    if array.dtype.kind in "OT" and {*map(type, array.tolist())} == {str}:  # pandas' texts
        array = array.astype(str)
    mixed = array.dtype.kind == "U" and not all(isinstance(name, str) for name in classes)
    if array.ndim != 1 or array.dtype.kind not in "biuU" or mixed:
        raise TypeError(
            f"classes must be a list of texts or of whole numbers, got {array.dtype} of shape {array.shape}"
        )
    names: list[Any] = array.tolist()
    if not names or len({*names}) < len(names):
        raise ValueError(f"classes must be distinct, and at least one, got {names}")
    return names


def _as_json(place: str, value: Any) -> Any:
    """The value as JSON has it: NumPy's numbers and arrays as numbers and lists."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_as_json(f"{place}[{index}]", item) for index, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: _as_json(f"{place}[{name!r}]", item) for name, item in value.items()}
    raise TypeError(
        f"{place} must be numbers, texts, and lists and dicts (with texts as keys) of them, got"
        f" {type(value).__name__}"
    )
