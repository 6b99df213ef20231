"""Stands in for the program that is pushed, where a test is about what happens around it: the same JOB and PACK, no training.

The run's name says what it does: ``done``, ``stops`` (at a time limit, then finishes when it is resumed), ``fails``, ``lies`` (about a
hash), ``lacks`` (a file), ``dies`` (before it can report), ``sleeps``.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from pathlib import Path

JOB = {}
PACK = ""

words = JOB["command"]
mood = JOB["run"].split("-")[2] if JOB["run"] else words[words.index("--name") + 1]
root = Path(os.environ["KK_NOTEBOOK_ROOT"]) / "kaggle"
print(f"training, {mood}", flush=True)
if mood == "sleeps":
    time.sleep(600)
if mood == "fails":
    print("Error: loss is not finite at step 3", file=sys.stderr)
run = JOB["run"] or f"20261123-150000-{mood}-1a2b3c"
folder = Path("models_archive", run)
if JOB["run"]:
    shutil.copytree(root / "input" / "notebooks" / JOB["kernel"] / folder, folder)
folder.mkdir(parents=True, exist_ok=True)
state = {"stops": "done" if JOB["run"] else "interrupted", "fails": "failed", "dies": "running"}.get(mood, "done")
(folder / "fold-0-seed-0").mkdir(exist_ok=True)
(folder / "fold-0-seed-0" / "model.safetensors").write_bytes(b"weights of " + mood.encode())
record = {
    "schema": 1, "id": run, "kind": "run", "name": mood, "competition": "tiny", "created": "2026-11-23T15:00:00.000Z",
    "state": state, "translator": "ridge", "config": {"folds": {"count": 2}}, "folds": {"count": 2}, "seeds": 1,
    "provenance": {"git": None}, "cv": {"mrr": 0.5, "error": 0.01, "gallery_size": 20, "images": 80} if state == "done" else None,
}  # fmt: skip
(folder / "run.json").write_text(json.dumps(record))
if mood == "dies":
    raise SystemExit(137)
if state == "done":
    vector = json.dumps([1.0, 0.5, -0.5, 0.25, 1.0, 0.5, -0.5, 0.25])
    rows = [f'{number},"{vector}"' for number in range(1, 41)]
    Path("submission.csv").write_text("\n".join(["id,embedding", *rows, ""]))
files = {
    str(path): {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    for path in Path().rglob("*")
    if path.is_file()
}
if mood == "lies":
    files[str(folder / "fold-0-seed-0" / "model.safetensors")]["sha256"] = "0" * 64
if mood == "lacks":
    files[str(folder / "other.npy")] = {"size": 1, "sha256": "0" * 64}
exit_code = {"stops": 0 if JOB["run"] else 75, "fails": 7}.get(mood, 0)
report = {"schema": 1, "push": JOB["push"], "run": run, "exit": exit_code, "files": files}
Path("kk-remote.json").write_text(json.dumps(report))
raise SystemExit(exit_code if mood == "fails" else 0)
