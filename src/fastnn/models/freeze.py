"""Freezing the first part of a model."""

from __future__ import annotations

from itertools import dropwhile, takewhile

from fastnn.models.head import head_name
from fastnn.models.steps import has_state
from fastnn.nn import Module
from fastnn.nn.module import check_model


def freeze(model: Module, until: str | None = None) -> Module:
    """Freeze all layers before the one named `until`; return the model.

    until: a name of model.named_modules(), as "layer3" or "features.10", in whose order "before" is meant;
    None: the head, the last Linear, so that it alone is trained. Frozen parameters get no gradient, which is
    not computed where nothing before needs it, and optimizers leave them. Frozen layers stay in evaluation
    mode, whatever train() says: batch norms keep their running statistics, dropout drops nothing. Layers
    without parameters directly before `until` are left as they are. `model.requires_grad_()` undoes it for
    parameters and norms. Raises ValueError for a name that there is not, and where nothing is before it.
    """
    check_model(model)
    until = head_name(model) if until is None else until
    names = [name for name, _ in model.named_modules()]
    if until not in names[1:]:
        tops = ", ".join(name for name, _ in model.named_children())
        raise ValueError(f"until must be the name of a layer, as one of {tops}, got {until!r}")
    around = {"", *(until[:place] for place, sign in enumerate(until) if sign == ".")}
    named = takewhile(lambda pair: pair[0] != until, model.named_modules())
    before = [module for name, module in named if name not in around]
    frozen = [*dropwhile(lambda module: not has_state(module), reversed(before))]
    if not frozen:
        raise ValueError(f"until must have layers with parameters before it, got {until!r}")
    for module in frozen:
        module.requires_grad_(False)
        module.frozen, module.training = True, False
    return model
