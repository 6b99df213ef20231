"""What a saved notebook keeps of commands and of the Python functions that were run in its cells."""

from __future__ import annotations

import re

import nbformat
import pytest

COMMANDS = ("!kk train", "!kk leaderboard --runs", "!kk train --folds 900")
FUNCTIONS = """\
import kaggle_kit as kk

progress = kk.show_progress()
run = kk.train(kk.load_project(), progress=progress)
task = progress.start("more", 10, "steps")
for step in range(10):
    task.update(step, loss=1 / (step + 1))
task.finish()
run"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["Interactive", "Batch"])
def test_neither_control_codes_nor_what_was_written_over_stay_in_the_notebook(offline, kind):
    offline.variables["KAGGLE_KERNEL_RUN_TYPE"] = kind
    path = offline.root / "tmp" / "cells.ipynb"
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(one) for one in (*COMMANDS, FUNCTIONS)]), path
    )
    done = offline.execute(path)
    assert done.code == 0, done.err[-3000:]
    train, runs, refused, functions = nbformat.read(path, as_version=4).cells
    said = ["".join(output["text"] for output in cell.outputs) for cell in (train, runs, refused)]
    assert "fold 2/2: MRR" in said[0]
    assert "Translator" in said[1]
    assert "Error: " in said[2]
    *shown, result = functions.outputs
    assert kind == "Batch" or len(shown) == 1  # one output, that was replaced all the time
    text = shown[0]["data"]["text/plain"] if kind == "Interactive" else "".join(output["text"] for output in shown)
    assert text.splitlines()[-1].endswith(re.search(r"out-of-fold MRR.*", said[0]).group())
    assert result["data"]["text/html"].startswith("<table>")
    for part in (*said, text):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", part), part
