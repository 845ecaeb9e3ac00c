"""
Learning-rate schedules
=======================

A high rate at first covers the distance, a low one at the end settles in the minimum. A schedule
gives both, and which one it is matters less than that there is one.
"""

# %%
# A tenth of the labels is wrong and a batch has 8 samples, so that the gradients are noisy, as they are
# with large data sets. A schedule changes the rate after every step.

import matplotlib.pyplot as plt
import numpy as np

import fastnn
from fastnn import datasets, nn, optim, train
from fastnn.optim import lr_scheduler

EPOCHS, SEEDS, RATE = 12, 3, 0.2
data = train.prepare(datasets.digits())
rng = np.random.default_rng(0)
wrong = rng.random(len(data.y_train)) < 0.1
samples = data.x_train, np.where(wrong, rng.integers(0, 10, len(wrong)), data.y_train)
steps = EPOCHS * train.steps_per_epoch(len(data.x_train), 8)
schedules = {
    "constant": lambda optimizer: lr_scheduler.ConstantLR(optimizer, 1.0),
    "step": lambda optimizer: lr_scheduler.StepLR(optimizer, steps // 3, gamma=0.2),
    "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, steps),
    "one cycle": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, RATE, steps, cycle_momentum=False),
    "1 / √t": lambda optimizer: lr_scheduler.InverseSquareRootLR(optimizer, steps // 20),
}


def trained(schedule, seed):
    """Return the schedule after a training, and the loss on the training data after each epoch."""
    fastnn.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer = optim.SGD(model.parameters(), lr=RATE)
    scheduler = schedule(optimizer)
    options = {"scheduler": scheduler, "schedule_per": "step", "epochs": EPOCHS, "batch_size": 8}
    history = train.fit(model, samples, validation=samples, optimizer=optimizer, **options)
    return scheduler, [record["val_loss"] for record in history]


# %%

plt.style.use("petroff10")
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
for (name, schedule), line in zip(schedules.items(), ("-", "--", "-.", ":", "-"), strict=True):
    schedulers, losses = zip(*(trained(schedule, seed) for seed in range(SEEDS)), strict=True)
    loss = np.mean(losses, axis=0)
    print(f"{name}: loss {loss[-1]:.3f} at the end, mean of {SEEDS} trainings")
    left.plot(range(steps), [schedulers[0].lr_at(step, 0) for step in range(steps)], line, label=name)
    right.plot(range(1, EPOCHS + 1), loss, line, label=name)
left.set(xlabel="step", ylabel="learning rate", title="Schedules")
right.set(xlabel="epoch", ylabel="training loss", title=f"Loss, mean of {SEEDS} trainings", ylim=(0.3, 0.8))
right.legend()
plt.show()
