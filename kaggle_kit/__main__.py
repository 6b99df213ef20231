"""``kk`` and ``python -m kaggle_kit``."""

from __future__ import annotations

from kaggle_kit.cli import main

if __name__ == "__main__":
    main()
