"""
Why not W = 0? Units that start equal stay equal
================================================

If all weights start with the same value, all units of a layer compute the same, get the same
gradient, and stay the same for ever: the layer is one unit. Random weights break the symmetry.
"""

# %%

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import datasets, init, nn, optim, train

EPOCHS = 30
UNITS = 8
x, y = datasets.digits()  # 64 pixels of 0 to 16
x = (x - x.mean(axis=0)).astype(np.float32) / 16
starts = {
    "W = 0": init.zeros_,
    "W = 0.1": lambda weight: init.constant_(weight, 0.1),
    "random W": init.xavier_normal_,
}


def trained(start):
    """Return a network of one hidden layer after training from these weights."""
    fastnn.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, UNITS), nn.Sigmoid(), nn.Linear(UNITS, 10))
    for linear in (model[0], model[2]):
        start(linear.weight)
        init.zeros_(linear.bias)
    train.fit(model, (x, y), optimizer=optim.SGD(model.parameters(), lr=0.5, momentum=0.9), epochs=EPOCHS)
    return model


# %%
# The weights of the hidden units after training, as images of 8 x 8 pixels: what each unit looks
# for. Red is positive, blue negative.

figure, axes = plt.subplots(3, UNITS, figsize=(9, 4.2), layout="constrained")
for row, (name, start) in zip(axes, starts.items(), strict=True):
    model = trained(start)
    accuracy = train.evaluate(model, (x, y))["accuracy"]
    weight = model[0].weight.data
    distinct = np.linalg.matrix_rank(weight, tol=1e-3)
    print(f"{name}: {distinct} different units, accuracy {accuracy:.0%}")
    limit = np.abs(weight).max()
    for axis, unit in zip(row, weight, strict=True):
        axis.imshow(unit.reshape(8, 8), cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set(xticks=[], yticks=[])
    row[0].set_ylabel(f"{name}\naccuracy {accuracy:.0%}")
figure.suptitle("Weights of eight hidden units after training")
plt.show()
