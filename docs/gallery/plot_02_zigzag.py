"""
Sigmoid's outputs are not zero-centred: the zig-zag
===================================================

If all inputs of a unit are positive, the gradients of its weights all have the same sign, and the
weights can reach their goal on a zig-zag path only.
"""

# %%
# A unit w0 x0 + w1 x1 has to learn the weights (1, -1) from one sample at a time. The gradient of
# the weights is the error times x. The inputs come from a layer of sigmoids, which are all
# positive, or from a layer of tanh, which has positive and negative outputs.

import matplotlib.pyplot as plt
import numpy as np

import fastnn.functional as F
from fastnn import nn, optim

SAMPLES = 300
goal = np.array([[1.0, -1.0]])
z = np.random.default_rng(5).standard_normal((SAMPLES, 2))
inputs = {"sigmoid": F.sigmoid(z), "tanh": F.tanh(z)}


def path(x):
    """Return the weights after each step of gradient descent, one sample a step."""
    unit = nn.Linear(2, 1, bias=False, dtype=np.float64)
    unit.weight.data[:] = 0
    optimizer = optim.SGD(unit.parameters(), lr=0.2 / (x**2).sum(axis=1).mean())
    weights = [unit.weight.data[0].copy()]
    for sample in x:
        _, error = F.mse_loss(unit(sample[None]), sample[None] @ goal.T)
        optimizer.zero_grad()
        unit.backward(error)
        optimizer.step()
        weights.append(unit.weight.data[0].copy())
    return np.array(weights)


# %%
# With sigmoids each step goes up and to the right, or down and to the left. The straight way to
# the goal, down and to the right, is not among the directions that a step can take.

plt.style.use("petroff10")
figure, axes = plt.subplots(1, 2, figsize=(9, 4.5), sharex=True, sharey=True, layout="constrained")
for (name, x), axis in zip(inputs.items(), axes, strict=True):
    weights = path(x)
    steps = int(np.argmax(np.linalg.norm(weights - goal, axis=1) < 0.1))
    print(f"{name}: within 0.1 of the goal after {steps} samples")
    axis.plot([0, 1], [0, -1], "--", linewidth=2, label="straight way")
    axis.plot(*weights.T, ".-", markersize=4, label="gradient descent")
    axis.plot(1, -1, "k*", markersize=14, label="goal")
    axis.set(title=f"inputs from {name}: {steps} samples", xlabel="w0", ylabel="w1", aspect="equal")
axes[0].legend(loc="upper right")
plt.show()
