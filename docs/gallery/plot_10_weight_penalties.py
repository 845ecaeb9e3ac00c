"""
L1, L2 and max-norm
===================

L2 makes all weights small, L1 makes most of them 0, and max-norm leaves a unit's weights alone
until their norm reaches a limit.
"""

# %%
# One hidden layer, trained with each penalty, on digits with 64 pixels that are zero-centred.

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import datasets, nn, optim, train

EPOCHS = 60
UNITS = 50
x, y = datasets.digits()  # 64 pixels of 0 to 16
x = (x - x.mean(axis=0)).astype(np.float32) / 16
samples, held_out = (x[:1000], y[:1000]), (x[1000:], y[1000:])
penalties = {"none": {}, "L2": {"l2": 2e-3}, "L1": {"l1": 5e-4}, "max-norm": {"max_norm": 1.5}}


def trained(penalty):
    """Return a network after training with this penalty on its weights, but not on its biases."""
    fastnn.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, UNITS), nn.ReLU(), nn.Linear(UNITS, 10))
    weights = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    biases = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    optimizer = optim.SGD([{"params": weights, **penalty}, {"params": biases}], lr=0.1, momentum=0.9)
    train.fit(model, samples, optimizer=optimizer, epochs=EPOCHS)
    return model


# %%
# Above, the histogram of the hidden layer's weights; below, the weights of ten units as images.

plt.style.use("petroff10")
figure, axes = plt.subplots(2, 4, figsize=(11, 4.9), layout="constrained", height_ratios=(2, 1))
for (name, penalty), (top, bottom) in zip(penalties.items(), axes.T, strict=True):
    model = trained(penalty)
    weight = model[0].weight.data
    zeros, norm = np.mean(np.abs(weight) < 0.01), np.linalg.norm(weight, axis=1).max()
    accuracy = train.evaluate(model, held_out)["accuracy"]
    print(f"{name}: {zeros:.0%} of the weights are 0, largest norm {norm:.2f}, accuracy {accuracy:.1%}")
    top.hist(weight.ravel(), bins=np.linspace(-0.8, 0.8, 81), log=True)
    top.set(title=f"{name}\n{zeros:.0%} near 0\nlargest norm {norm:.1f}", xlabel="weight", ylim=(0.8, 4000))
    image = np.pad(weight[:10].reshape(2, 5, 8, 8), ((0, 0), (0, 0), (1, 0), (1, 0)), constant_values=np.nan)
    bottom.imshow(np.block([list(row) for row in image]), cmap="RdBu_r", vmin=-0.5, vmax=0.5)
    bottom.axis("off")
plt.show()
