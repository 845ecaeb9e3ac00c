"""
Activations and their gradients
===============================

Sigmoid and tanh saturate: where the input is far from 0 the gradient is almost 0, and nothing
below the unit learns. ReLU does not saturate for positive inputs.
"""

# %%
# In the backward pass a unit multiplies the gradient that comes from above by its own local
# gradient f'(x). ``backward`` of a layer returns that product, so for a gradient of 1 from above
# it returns f'(x) itself.

import matplotlib.pyplot as plt
import numpy as np

from fastnn import nn

x = np.linspace(-6, 6, 601)
layers = [nn.Sigmoid(), nn.Tanh(), nn.ReLU(), nn.LeakyReLU(0.1), nn.ELU(), nn.SELU(), nn.GELU(), nn.SiLU()]

# %%
# Grey is where a unit passes less than 5% of the gradient on: it is saturated there. Sigmoid has
# a second weakness: even at its best it passes only a quarter of the gradient on.

plt.style.use("petroff10")
figure, axes = plt.subplots(2, 4, figsize=(10, 5), sharex=True, sharey=True, layout="constrained")
for layer, axis in zip(layers, axes.flat, strict=True):
    y = layer(x)
    gradient = layer.backward(np.ones_like(x))
    saturated = np.abs(gradient) < 0.05
    name = type(layer).__name__
    print(f"{name:>9}: largest gradient {gradient.max():.2f}, saturated on {saturated.mean():.0%} of [-6, 6]")

    axis.fill_between(x, -2, 3, where=saturated, color="0.9", label="gradient below 0.05")
    axis.plot(x, y, linewidth=2, label="f(x)")
    axis.plot(x, gradient, "--", linewidth=2, label="gradient f'(x)")
    axis.axhline(0, color="0.5", linewidth=0.5)
    axis.set(title=name, ylim=(-2, 3))
figure.supxlabel("x")
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
plt.show()

# %%
# Use ReLU. Try leaky ReLU, ELU or GELU. Do not expect much of tanh, and keep sigmoid for gates.
