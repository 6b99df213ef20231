"""What people see: one console on stderr for messages and progress, stdout for results and data."""

from kaggle_kit.render.screen import Screen

__all__ = ["Screen"]
