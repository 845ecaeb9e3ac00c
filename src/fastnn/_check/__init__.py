"""fastnn.check: what a model, its loss and its data look like before training, as a report."""

from fastnn._check.report import Finding, Report
from fastnn._check.run import check

__all__ = ["Finding", "Report", "check"]
