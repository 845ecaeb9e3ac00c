"""Initialisation of whole models. The functions are public in fastnn.init, which loads them on first use."""

from fastnn.nn._initialize.lsuv import lsuv_
from fastnn.nn._initialize.residual import fixup_, zero_last_
from fastnn.nn._initialize.scheme import apply

__all__ = ["apply", "fixup_", "lsuv_", "zero_last_"]
