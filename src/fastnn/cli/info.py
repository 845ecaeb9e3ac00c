"""Show what fastnn found on this machine and what it uses, as `fastnn.info()` returns it."""

from __future__ import annotations

import argparse

import fastnn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add nothing: there are no options."""


def run(args: argparse.Namespace) -> int:
    """Print a line for every entry."""
    info = fastnn.info()
    width = max(map(len, info))
    for name, value in info.items():
        print(f"{name:<{width}}  {value}")
    return 0
