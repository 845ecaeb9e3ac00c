"""fit and evaluate: training and measuring a model in one call. The loop itself is in trainer.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from fastnn import optim
from fastnn._core.arrays import check_count, real_number
from fastnn._core.inference import is_inference
from fastnn._core.ranks import as_ranks
from fastnn.augment import Compose, Transform
from fastnn.nn import Module
from fastnn.nn.module import check_model
from fastnn.optim.lr_scheduler import ReduceLROnPlateau
from fastnn.preprocessing import Transformer
from fastnn.train.checkpoint import Checkpoints
from fastnn.train.class_weight import weighted_loss
from fastnn.train.counts import find_count
from fastnn.train.data import held_out_rows
from fastnn.train.data_forms import source_of
from fastnn.train.measures import Metric, Record, find_loss, find_metrics, measure
from fastnn.train.nested import Nested, length
from fastnn.train.preprocessing import Preprocessing
from fastnn.train.progress import Progress
from fastnn.train.sources import Plan, Rows, Source, Subset
from fastnn.train.trainer import Callback, Trainer
from fastnn.train.transform import check_transform

Metrics = Iterable[str | Metric] | Mapping[str, Metric]
Data = Any  # (x, y), a Dataset, or what gives batches: train/sources.py

BATCH_SIZE = 32


def fit(
    model: Module,
    data: Data,
    *,
    validation: Data | None = None,
    validation_split: float | None = None,
    loss: str | Callable[..., Any] = "cross_entropy",
    class_weight: str | Mapping[int, float] | ArrayLike | None = None,
    metrics: Metrics | None = None,
    optimizer: optim.Optimizer | None = None,
    scheduler: Any = None,
    schedule_per: str = "epoch",
    epochs: int = 10,
    batch_size: int | None = None,
    accumulate: int = 1,
    shuffle_block: int | None = None,
    transform: Transform | Transformer | Callable[[Any, Any], tuple[Any, Any]] | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool | Literal["lines"] = False,
    checkpoints: Checkpoints | str | Path | None = None,
    resume: bool = False,
    divergence: float = 3.0,
    ranks: Any = None,
) -> list[Record]:
    """Train `model` and return a record for each epoch: epoch, step, lr, loss, metrics, val_..., seconds.

    data, validation: (x, y), arrays with a row for each sample, in memory or stored (np.memmap, those of h5py
    and zarr: rows are read when they are needed); a Dataset, with len(data) and data[i] giving (x, y); or
    batches (x, y) that can be iterated again for each epoch: a DataLoader, a list of batches, a function that
    makes a generator. All but arrays in memory are read by a thread, two batches ahead.
    A model of several inputs takes them as x = (x1, x2), for model(x1, x2); one of several outputs returns a
    tuple and gets y as a tuple: its loss is a function that returns a tuple of gradients. validation_split:
    the share of data in (0, 1) that is held out for validation instead, of labels from each class, the same
    samples in every run.
    Each batch is moved to the model's device: after model.to("cuda") to the GPU, which is waited for once a
    batch, for the loss and the metrics.
    Every epoch takes the samples in a new order, from fastnn's default generator; a last batch of one sample
    joins the batch before it, and `accumulate` batches make one step of the optimizer, with the gradient of
    one large batch. batch_size: 32 unless it is given; data that are batches keep theirs, and their order.
    shuffle_block: samples are shuffled in blocks of so many, which files are read faster by.
    transform: what changes each training batch on its way to the model: one of fastnn.augment, a fitted
    transformer of fastnn.preprocessing, or a function (x, y) -> (x, y) of NumPy arrays, which are copies of
    the data's rows and have as many rows afterwards; of several inputs it gets the tuple. The draws of
    fastnn.augment follow from the epoch's order and the batch's place in it, so that a resumed run repeats
    them; a function's own draws are its own. Validation batches go through the transformers of
    fastnn.preprocessing alone.
    loss: a name (cross_entropy, nll_loss, hinge_loss, binary_cross_entropy_with_logits, binary_cross_entropy,
    kl_div, mse_loss, l1_loss, smooth_l1_loss, huber_loss), a function (output, target) -> (loss, doutput), or
    a loss layer of fastnn.nn; the mean over a batch.
    class_weight: weights of classes in the training's loss, as scikit-learn has them: "balanced" (samples /
    (classes x samples of the class)), a dict by label (others 1), or an array; for cross_entropy, nll_loss
    and the binary ones by name.
    metrics: "accuracy" (the default for labels and one-hot rows of cross_entropy), other names and objects of
    fastnn.metrics, whose values are those of all samples, and functions (output, target) -> number, of which
    the record has the mean over the samples; or a dict of these by name.
    optimizer: one for the model's parameters (default: Adam with its defaults). scheduler: one of
    optim.lr_scheduler for it, stepped after each epoch, or step with schedule_per="step"; ReduceLROnPlateau
    gets the validation's loss, or without one the training's.
    checkpoints: a folder, or Checkpoints with settings of their own, which one run at a time writes to;
    resume=True continues from the latest in it, bitwise as if the run had not been interrupted, or starts a
    run where there is none yet. A run that was stopped (`trainer.stop`) continues to `epochs`.
    progress: True prints a line for each epoch and shows a bar (with tqdm) where there is a terminal or a
    notebook; "lines" is without the bar.
    divergence: a loss that is not finite, or above this many times its first value (both taken over some 256
    samples, so that a single batch does not count), raises Diverged.
    ranks: the processes that train the model together, each called with the same arguments: MPI.COMM_WORLD
    or another communicator of mpi4py, or Ranks with settings of their own. batch_size is that of all; each
    rank takes its rows of every batch. Losses, metrics and records are those of all rows. Rank 0 alone
    writes checkpoints and prints.

    Raises ValueError or TypeError naming an invalid argument, Diverged as above, RuntimeError within
    fastnn.inference().
    """
    if is_inference():
        raise RuntimeError(
            "fit must be called outside fastnn.inference(): inside, nothing is kept for backward"
        )
    check_count("epochs", epochs)
    check_count("accumulate", accumulate)
    for name, value in (("batch_size", batch_size), ("shuffle_block", shuffle_block)):
        if value is not None:
            check_count(name, value)
    source = source_of("data", data, shuffle_block)
    check_parts(model, optimizer, scheduler, callbacks)
    plan = _plan(source, batch_size, accumulate, shuffle_block)
    if schedule_per not in ("epoch", "step"):
        raise ValueError(f"schedule_per must be 'epoch' or 'step', got {schedule_per!r}")
    if progress not in (True, False, "lines"):
        raise ValueError(f"progress must be True, False or 'lines', got {progress!r}")
    if isinstance(transform, Transformer):
        transform = Compose([transform])
    check_transform(transform)
    peers = as_ranks("ranks", ranks)
    if resume and checkpoints is None:
        raise ValueError("checkpoints must be the folder to go on from with resume=True, got None")
    saver = Checkpoints(checkpoints) if isinstance(checkpoints, str | Path) else checkpoints
    # Checkpoints come last, so that they have what all other callbacks did.
    shown = [Progress(bar=progress is True)] if progress else []
    fixed = transform.preprocessing() if isinstance(transform, Transform) else None
    statistics = [] if fixed is None else [Preprocessing(fixed)]
    others: list[Callback] = [*shown, *statistics, *([saver] if saver else [])]
    plain_loss = find_loss(loss)
    y = source.y
    weighted = plain_loss if class_weight is None else weighted_loss(loss, class_weight, y)
    held_out = None if validation is None else source_of("validation", validation)
    if validation_split is not None:
        if held_out is not None:
            raise ValueError("validation_split must be None where validation is given, got both")
        source, held_out = _split(source, validation_split)
    several = peers.size > 1
    trainer = Trainer(
        model=model,
        data=source,
        validation=held_out,
        loss=weighted,
        validation_loss=plain_loss,
        count=find_count(loss, class_weight, y) if several else length,
        validation_count=find_count(loss) if several else length,
        metrics=find_metrics(_default_metrics(loss, y) if metrics is None else metrics, loss),
        optimizer=optim.Adam(model.parameters()) if optimizer is None else optimizer,
        scheduler=scheduler,
        schedule_per=schedule_per,
        epochs=epochs,
        plan=plan,
        transform=transform,
        divergence=divergence,
        callbacks=[*callbacks, *others],
        ranks=peers,
    )
    with ExitStack() as end:
        if saver is not None:
            peers.first(lambda: end.enter_context(saver.locked()))
            _continue(trainer, saver, resume)
        return trainer.run()


def evaluate(
    model: Module,
    data: Data,
    *,
    loss: str | Callable[..., Any] = "cross_entropy",
    metrics: Metrics | None = None,
    ranks: Any = None,
) -> dict[str, float]:
    """Return the means of loss and metrics over `data`, by name, with the model in evaluation mode.

    It is left in that mode. Arguments as for `fit`.
    """
    source, peers = source_of("data", data), as_ranks("ranks", ranks)
    found = find_metrics(_default_metrics(loss, source.y) if metrics is None else metrics, loss)
    count = find_count(loss) if peers.size > 1 else length
    return measure(model.eval(), source, find_loss(loss), found, ranks=peers, count=count)


def _continue(trainer: Trainer, checkpoints: Checkpoints, resume: bool) -> None:
    """Load the latest checkpoint where there is one."""
    latest = trainer.ranks.first(checkpoints.latest)
    if latest is None:
        return
    if not resume:
        raise ValueError(
            f"{checkpoints.folder} holds the checkpoints of another run, the latest {latest.name}:"
            " resume=True goes on with it; else give another folder"
        )
    state = trainer.ranks.first(lambda: checkpoints.load(latest))
    try:
        trainer.load_state_dict(state)
    except ValueError as error:
        raise ValueError(f"{latest}: {error}") from error


def _plan(source: Source, batch_size: int | None, accumulate: int, shuffle_block: int | None) -> Plan:
    """How epochs are cut; ValueError for what does not go with batches that come ready."""
    for name, value in (("batch_size", batch_size), ("shuffle_block", shuffle_block)):
        if value is not None and not isinstance(source, Rows):
            raise ValueError(f"{name} must be None where data are batches already, got {value}")
    return Plan(BATCH_SIZE if batch_size is None else batch_size, accumulate, shuffle_block)


def _split(source: Source, share: object) -> tuple[Rows, Rows]:
    """The samples for training, and those held out: this share, of each class where y is labels."""
    number = real_number("validation_split", share)
    if not isinstance(source, Rows):
        raise ValueError("validation_split must be None where data are batches: give validation, got both")
    if not 0 < number < 1:
        raise ValueError(f"validation_split must be in (0, 1), got {number}")
    y = source.y
    labels = y[:] if getattr(y, "ndim", 0) == 1 and y.dtype.kind in "iu" else np.zeros(len(source))
    held_out = held_out_rows(labels, Fraction(number).limit_denominator(10**6))
    if held_out.all() or not held_out.any():
        raise ValueError(f"validation_split must leave samples on both sides, got {number} of {len(source)}")
    return Subset(source, np.flatnonzero(~held_out)), Subset(source, np.flatnonzero(held_out))


def check_parts(model: Module, optimizer: object, scheduler: Any = None, callbacks: object = ()) -> None:
    """Raise TypeError or ValueError for what cannot be trained with, or does not belong together."""
    check_model(model)
    if not isinstance(optimizer, optim.Optimizer | None):
        raise TypeError(
            "optimizer must be one of fastnn.optim, for the model's parameters, as"
            f" optim.Adam(model.parameters()), got {_got(optimizer)}"
        )
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]} if optimizer else set()
    if optimizer and not any(id(parameter) in trained for parameter in model.parameters()):
        raise ValueError("optimizer must have parameters of the model, got none of them")
    if scheduler is not None and (isinstance(scheduler, type) or not hasattr(scheduler, "state_dict")):
        raise TypeError(f"scheduler must be one of fastnn.optim.lr_scheduler, got {_got(scheduler)}")
    if isinstance(scheduler, ReduceLROnPlateau) and scheduler.mode != "min":
        raise ValueError(f"scheduler must have mode='min', as fit gives it the loss, got {scheduler.mode!r}")
    if not isinstance(callbacks, Sequence) or not all(isinstance(one, Callback) for one in callbacks):
        raise TypeError(f"callbacks must be a list of fastnn.train.Callback, got {_got(callbacks)}")


def _got(value: object) -> str:
    """What an error says of an argument; a class, maybe in a list, is an object without its brackets."""
    for one in value if isinstance(value, list | tuple) else [value]:
        if isinstance(one, type):
            return f"the class {one.__name__}"
    return repr(value)


def _default_metrics(loss: object, y: Nested | None) -> tuple[str, ...]:
    """Accuracy for cross_entropy; not where y is known to be no classes."""
    classes = y is None or (not isinstance(y, tuple) and (y.dtype.kind in "iu" or y.ndim > 1))
    return ("accuracy",) if classes and loss == "cross_entropy" else ()
