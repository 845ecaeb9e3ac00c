"""
Activations through ten layers, by the scale of the initial weights
===================================================================

Weights that are too small make all activations, and with them all gradients, 0; weights that are
too large saturate tanh and let ReLU explode. Xavier's scale keeps tanh alive, He's scale ReLU.
"""

# %%
# Normal inputs go through ten layers of 500 units whose weights have the standard deviation shown.
# n is the number of inputs of a unit, 500.

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import init, nn

LAYERS, WIDTH = 10, 500
scales = {
    "0.01": lambda weight: init.normal_(weight, std=0.01),
    "1": lambda weight: init.normal_(weight, std=1.0),
    "Xavier, √(1/n)": init.xavier_normal_,
    "He, √(2/n)": lambda weight: init.kaiming_normal_(weight, nonlinearity="relu"),
}
x = np.random.default_rng(0).standard_normal((1000, WIDTH)).astype(np.float32)

# %%
# Each shape is the histogram of one layer's activations, and the title has the standard deviation
# in the last layer. Of ReLU only the positive activations are drawn: half of them are 0.

plt.style.use("petroff10")
figure, axes = plt.subplots(2, 4, figsize=(11, 5.5), layout="constrained")
for row, activation in zip(axes, (nn.Tanh, nn.ReLU), strict=True):
    for axis, (name, initialise) in zip(row, scales.items(), strict=True):
        fastnn.manual_seed(0)
        y = x
        for layer in range(1, LAYERS + 1):
            linear = nn.Linear(WIDTH, WIDTH, bias=False)
            initialise(linear.weight)
            y = activation()(linear(y))
            counts, edges = np.histogram(y[y != 0], bins=30)
            ends = layer + 0.9 * counts / counts.max()
            axis.stairs(ends, edges, baseline=layer, orientation="horizontal", fill=True, color="C0")
        print(f"{activation.__name__}, {name}: standard deviation {y.std():.2g} in layer {LAYERS}")
        axis.set_title(f"std of W: {name}\nlast layer: {y.std():.2g}", fontsize=10, pad=14)
        axis.set_xticks(range(1, LAYERS + 1))
    row[0].set_ylabel(f"activations of {activation.__name__}")
figure.supxlabel("layer")
plt.show()
