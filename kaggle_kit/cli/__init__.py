"""The command line: each command loads the project, calls one function of the library, and shows what came back."""

from kaggle_kit.cli.root import cli, main

__all__ = ["cli", "main"]
