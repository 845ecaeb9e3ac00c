"""
SELU normalises itself
======================

With weights of variance 1/n, SELU draws mean and standard deviation of its activations to 0 and 1,
layer by layer, from wherever they start (Klambauer et al., 2017). ReLU does not.
"""

# %%
# Inputs of several means and standard deviations go through forty layers of 256 units, with LeCun's
# weights for SELU and He's for ReLU.

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import init, nn

LAYERS, WIDTH = 40, 256
nets = {
    "SELU": (nn.SELU(), init.lecun_normal_),
    "ReLU": (nn.ReLU(), lambda weight: init.kaiming_normal_(weight, nonlinearity="relu")),
}
starts = ((0.0, 0.3), (0.0, 3.0), (1.0, 1.0), (-1.0, 2.0))  # mean, standard deviation
z = np.random.default_rng(0).standard_normal((500, WIDTH)).astype(np.float32)

# %%

plt.style.use("petroff10")
figure, axes = plt.subplots(2, 2, figsize=(9, 5.5), sharex=True, sharey="row", layout="constrained")
for column, (name, (activation, initialise)) in zip(axes.T, nets.items(), strict=True):
    for (mean, std), line in zip(starts, ("-", "--", ":", "-."), strict=True):
        fastnn.manual_seed(0)
        x = mean + std * z
        statistics = [(x.mean(), x.std())]
        for _ in range(LAYERS):
            linear = nn.Linear(WIDTH, WIDTH, bias=False)
            initialise(linear.weight)
            x = activation(linear(x))
            statistics.append((x.mean(), x.std()))
        print(f"{name}: from mean {mean}, std {std} to mean {x.mean():.2f}, std {x.std():.2f}")
        for axis, values in zip(column, zip(*statistics, strict=True), strict=True):
            axis.plot(values, line, linewidth=2, label=f"mean {mean:g}, std {std:g}")
    column[0].set_title(name)
    column[1].set_xlabel("layer")
axes[0, 0].set_ylabel("mean")
axes[1, 0].set_ylabel("standard deviation")
figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
plt.show()
