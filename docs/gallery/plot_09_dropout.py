"""
Dropout is an average over subnetworks
======================================

Each dropout mask is a network of its own. At test time one pass with all units gives their average,
if the activations are scaled: at test time (the original form) or in training (inverted dropout).
"""

# %%
# The lecture's unit a = w0 x + w1 y, dropped with p = 0.5: over the four masks, all equally probable,
# E[a] = (w0 x + w1 y + w0 x + 0 + 0 + w1 y + 0 + 0) / 4 = (w0 x + w1 y) / 2: half of the whole unit's
# output. Inverted dropout divides by 1 - p in training and leaves the test as it is.

import itertools

import matplotlib.pyplot as plt
import numpy as np

import fastnn
import fastnn.functional as F
from fastnn import datasets, nn, train

UNITS, DRAWS = 10, 2000
fastnn.manual_seed(0)
inputs, weights = np.array([1.0, 2.0]), np.array([0.6, 0.2])
whole = weights @ inputs
inverted = np.array([weights @ F.dropout(inputs, 0.5) for _ in range(DRAWS)])
original = 0.5 * inverted  # no division in training
print(f"whole unit {whole}, E[a]: original {original.mean():.3f}, inverted {inverted.mean():.3f}")

# %%
# A network with ten hidden units and dropout has 2^10 subnetworks, and one pass with all units gives
# exactly the normalised geometric mean of their probabilities. The arithmetic mean is less sure.

data = train.prepare(datasets.digits())
model = nn.Sequential(nn.Linear(64, UNITS), nn.ReLU(), nn.Dropout(0.5), nn.Linear(UNITS, 10))
train.fit(model, (data.x_train, data.y_train), epochs=40)
hidden = model.eval()[:2](data.x_test)
masks = itertools.product((0, 2), repeat=UNITS)  # 2 = 1 / (1 - p)
logits = np.array([model[3](hidden * np.float32(mask)) for mask in masks])
arithmetic = F.softmax(logits, dim=-1).mean(axis=0)
geometric = F.softmax(logits.mean(axis=0), dim=-1)
one_pass = F.softmax(model(data.x_test), dim=1)
print(f"same class for {np.mean(arithmetic.argmax(axis=1) == one_pass.argmax(axis=1)):.0%} of the samples")

plt.style.use("petroff10")
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
count = np.arange(1, DRAWS + 1)
left.semilogx(count, np.cumsum(inverted) / count, label="mean of a in training, inverted")
left.semilogx(count, np.cumsum(original) / count, "--", label="mean of a in training, original")
left.axhline(whole, color="0.3", linewidth=0.8, label="whole unit")
left.axhline(whole / 2, color="0.3", linewidth=0.8, linestyle=":", label="whole unit times 1 - p")
left.set(xlabel="number of masks", title="E[a] of the lecture's unit")
left.legend()
for marker, name, mean in ((".", "geometric", geometric), ("x", "arithmetic", arithmetic)):
    right.plot(one_pass.ravel(), mean.ravel(), marker, markersize=4, label=f"{name} mean")
right.legend()
right.set(xlabel="one pass with all units", ylabel="mean of 1024 subnetworks", title="Probabilities")
plt.show()
