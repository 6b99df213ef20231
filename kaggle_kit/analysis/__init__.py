"""Figures and verdicts on data and results; matplotlib is imported here only, and only when a figure is drawn."""
