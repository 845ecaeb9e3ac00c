"""Handwritten digits in plain NumPy and fastnn: about 98% of the held-out images right after two seconds."""

import numpy as np
from sklearn.datasets import load_digits

import fastnn
import fastnn.functional as F
from fastnn import nn, optim

fastnn.manual_seed(0)
rng = np.random.default_rng(0)

images, digits = load_digits(return_X_y=True)  # 1797 images of 8 x 8 pixels, values 0 to 16
x = (images / 16).astype(np.float32)
order = rng.permutation(len(x))
held_out, training = order[: len(x) // 5], order[len(x) // 5 :]

model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

for epoch in range(30):
    losses = []
    for batch in np.array_split(rng.permutation(training), len(training) // 32):
        logits = model(x[batch])
        loss, dlogits = F.cross_entropy(logits, digits[batch])
        optimizer.zero_grad()
        model.backward(dlogits)
        optimizer.step()
        losses.append(loss)
    right = model(x[held_out]).argmax(axis=1) == digits[held_out]
    print(f"epoch {epoch + 1:2}  loss {np.mean(losses):.4f}  held-out accuracy {right.mean():.2%}")
