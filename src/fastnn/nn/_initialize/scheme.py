"""One scheme of initialisation for all layers of a model, with the gain of the activation behind each."""

from __future__ import annotations

from fastnn.init.draws import orthogonal_
from fastnn.init.scaling import calculate_gain, variance_scaling_
from fastnn.init.target import Draws, finite
from fastnn.nn import activation as act
from fastnn.nn import slope
from fastnn.nn._initialize.layers import matrix_layers, weight_of, zero_bias
from fastnn.nn.along_dim import GLU, LogSoftmax, Softmax, SwiGLU
from fastnn.nn.container import Sequential
from fastnn.nn.embedding import Embedding
from fastnn.nn.module import Module
from fastnn.nn.parameter import Parameter
from fastnn.nn.residual import Residual

MODES = {"xavier": "fan_avg", "kaiming": "fan_in", "lecun": "fan_in"}
SCHEMES = (*(name + form for name in MODES for form in ("", "_normal", "_uniform")), "orthogonal")

Gain = float | None  # of the activation that follows; None where it cannot be seen
LINEAR = calculate_gain("linear")

#: The entry of PyTorch's table whose gain an activation takes; those that are like relu take relu's.
NONLINEARITIES: dict[type[Module], str] = {
    **dict.fromkeys((act.ReLU, act.ReLU6, act.GELU, act.SiLU, act.Mish, act.ELU, act.CELU), "relu"),
    **dict.fromkeys((act.Hardswish, act.Softplus, act.Squareplus), "relu"),
    **dict.fromkeys((act.Tanh, act.Hardtanh, act.Softsign), "tanh"),
    **dict.fromkeys((act.Sigmoid, act.Hardsigmoid, act.LogSigmoid), "sigmoid"),
    **dict.fromkeys((Softmax, LogSoftmax), "linear"),
    act.SELU: "selu",
}
OTHERS = (act.Activation, GLU, SwiGLU, slope.Maxout)  # activations without an entry there


def apply(
    model: Module, scheme: str = "kaiming", *, gain: float | None = None, generator: Draws = None
) -> Module:
    """Initialise every linear layer and convolution of a model by one scheme; return the model.

    scheme: "kaiming", "xavier" or "lecun", each also with "_normal" (the same) or "_uniform" behind it, or
    "orthogonal": the functions of these names. Biases become 0; norms, embeddings and learned slopes stay.
    gain: the factor on the standard deviation. None is 1, but for kaiming calculate_gain of the activation
    that follows the layer, norms, dropout and pooling between them passed over: leaky_relu with its slope,
    tanh, sigmoid, selu, relu also for those that are like it (GELU, SiLU, ELU ...), and 1 where another layer
    or the end of the model follows. That is seen in nn.Sequential and nn.Residual; in modules of your own,
    and before other activations, it is relu's.

    Raises ValueError for another scheme, for a gain that is not finite, and for a model without such layers.
    """
    if not (isinstance(scheme, str) and scheme in SCHEMES):
        raise ValueError(f"scheme must be one of {', '.join(map(repr, SCHEMES))}, got {scheme!r}")
    layers = [layer for layer in matrix_layers(model) if not isinstance(layer, Embedding)]
    if not layers:
        got = type(model).__name__
        raise ValueError(f"model must have a linear layer or a convolution, got {got} without one")
    name, _, form = scheme.partition("_")
    given = 1.0 if gain is None else finite("gain", gain)
    finite("the square of gain", given * given)
    gains: dict[Module, Gain] = {}
    if name == "kaiming" and gain is None:
        _note_gains(model, LINEAR, gains)
        given = calculate_gain("relu")
    for layer in layers:
        seen = gains.get(layer)
        factor, weight = given if seen is None else seen, weight_of(layer)
        if name == "orthogonal":
            orthogonal_(weight, factor, generator)
        else:
            variance_scaling_(weight, factor * factor, MODES[name], form or "normal", generator)
        zero_bias(layer)
    return model


def _note_gains(module: Module, after: Gain, gains: dict[Module, Gain]) -> Gain:
    """Note the gain of what follows each layer with a weight; return that of what the module begins with."""
    if isinstance(module, Sequential):
        for layer in reversed(list(module)):
            after = _note_gains(layer, after, gains)
        return after
    if isinstance(module, Residual):  # after its sum comes what follows both of its parts
        for part in module.children():
            _note_gains(part, after, gains)
        return LINEAR
    if type(module) in NONLINEARITIES:
        return calculate_gain(NONLINEARITIES[type(module)])
    if isinstance(module, act.LeakyReLU | slope.PReLU | slope.RReLU):
        return calculate_gain("leaky_relu", _slope(module))
    if isinstance(module, OTHERS) and not isinstance(module, act.Identity):
        return None
    if isinstance(vars(module).get("weight"), Parameter) and weight_of(module).ndim > 1:
        gains[module] = after
        return LINEAR
    for part in (parts := [*module.children()]):
        _note_gains(part, None, gains)
    passes_over = not parts and type(module).__module__.startswith("fastnn.")  # a norm, dropout, pooling ...
    return after if passes_over else None


def _slope(module: act.LeakyReLU | slope.PReLU | slope.RReLU) -> float:
    if isinstance(module, slope.PReLU):
        return float(module.weight.data.mean())
    if isinstance(module, slope.RReLU):
        return (module.lower + module.upper) / 2
    return module.negative_slope
