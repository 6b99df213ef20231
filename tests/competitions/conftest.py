"""The two other competitions, served."""

from other_competitions import kk, prices, sounds  # noqa: F401
