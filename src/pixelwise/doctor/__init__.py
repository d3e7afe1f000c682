"""Checks a data set and reports its problems, the most harmful first."""

from pixelwise.doctor.examination import Examination, check_data
from pixelwise.doctor.findings import Finding

__all__ = ["Examination", "Finding", "check_data"]
