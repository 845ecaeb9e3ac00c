"""Chains of stages on a GPU: the twins of fastnn._chain."""
