"""The output folder of `fastnn train`: which runs may start in it, and their checkpoints.

A run of one network has its checkpoints in the folder itself, an ensemble's members have theirs in folders
`member-1`, `member-2` and so on inside it. metrics.json is written at the end of a run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from fastnn import train


def make_folder(path: Path) -> Path:
    """Return the folder, made where it is not there."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--output: cannot make the folder {path}: {error.strerror}") from error
    return path


def member_folder(output: Path, number: int) -> Path:
    """Return the folder of a member of an ensemble, counted from 1."""
    return output / f"member-{number}"


def checkpoints_in(folder: Path) -> train.Checkpoints:
    """Return the checkpoints of a network in its folder."""
    return train.Checkpoints(folder / "checkpoints")


def begin_checkpoints(args: argparse.Namespace, folder: Path) -> None:
    """Remove a network's checkpoints of an earlier run, unless it is resumed.

    With the first member of an ensemble the checkpoints of all members of an earlier one are removed, so that
    none of the new ones goes on from them.
    """
    if args.resume:
        if latest := _latest(folder):
            print(f"going on from {latest}")
    else:
        is_first = folder == member_folder(folder.parent, 1)
        _clear([folder, *(_members(folder.parent) if is_first else ())])


def check_start(args: argparse.Namespace, output: Path) -> None:
    """Raise ValueError where a run did not come to its end here, unless an option says what to do with it."""
    single, members = _latest(output), _members(output)
    if args.resume:
        if args.ensemble and single and not members:
            raise ValueError(
                f"{output} holds the checkpoints of one network: --resume without --ensemble goes on with it"
            )
        if members and args.ensemble < len(members) and not (single and not args.ensemble):
            raise ValueError(
                f"{output} holds the checkpoints of an ensemble: --ensemble must be at least {len(members)}"
                f" with --resume, got {args.ensemble or 'none'}"
            )
    elif not args.replace:
        if single and not _is_result_of(output, single):
            _refuse(output, single, "--resume")
        without_end = [folder for folder, latest in members.items() if not _is_result_of(folder, latest)]
        if without_end or len(_metrics(output).get("members", ())) < len(members):
            last = [*members][-1]
            _refuse(last, members[last], f"--resume with --ensemble {max(args.ensemble, len(members))}")


def remove_others(args: argparse.Namespace, output: Path) -> None:
    """Remove the checkpoints of earlier runs in the folder whose result the one that has ended replaced."""
    members = [*_members(output)]
    _clear([output, *members[args.ensemble :]] if args.ensemble else members)


def _clear(folders: Iterable[Path]) -> None:
    for folder in folders:
        checkpoints_in(folder).clear()


def _refuse(folder: Path, latest: Path, way: str) -> NoReturn:
    raise ValueError(
        f"{folder} holds the checkpoints of a run that did not come to its end, the latest {latest.name}:"
        f" {way} goes on with it, --replace removes them and starts anew"
    )


def _latest(folder: Path) -> Path | None:
    return checkpoints_in(folder).latest()


def _members(output: Path) -> dict[Path, Path]:
    """The folders of an ensemble's members that have checkpoints, in order, and the latest of these."""
    found: dict[Path, Path] = {}
    while latest := _latest(folder := member_folder(output, len(found) + 1)):
        found[folder] = latest
    return found


def _metrics(folder: Path) -> dict[str, Any]:
    """What the last run that came to its end here wrote; nothing where there is none, or another file."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return metrics if isinstance(metrics, dict) else {}


def _is_result_of(folder: Path, checkpoint: Path) -> bool:
    """Whether a run wrote metrics.json at its end, after this last checkpoint."""
    try:
        step = _metrics(folder)["epochs"][-1]["step"]
    except (LookupError, TypeError):
        return False
    return checkpoint.stem == f"step-{step:08}"
