"""Time and peak memory of loading a competition-size training file: np.load and nonzero, ours cold, ours cached.

Each measurement is a process of its own. By default a file of the real competition's size (125,000 captions, 25,000 images; 0.6 GB on disk,
a label matrix of 3.1 GB) is generated in a temporary folder first::

    python -m tests.benchmarks.bench_load
    python -m tests.benchmarks.bench_load --captions 20000 --images 4000 --repeat 3
    python -m tests.benchmarks.bench_load --file train.npz
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kaggle_kit.files import sha256_of
from tests.benchmarks.history import remember

NUMPY = """
with np.load(path, allow_pickle=False) as file:
    arrays = {key: file[key] for key in file.files}
index = arrays["captions/label"].nonzero()[1].astype(np.int32)
checksum = int(index.sum()), float(arrays["captions/embeddings"][::1000].sum())
"""
OURS = """
pairs = load_pairs(path)
checksum = int(pairs.image_of_caption.sum()), float(pairs.text[::1000].sum())
"""
UNCACHED = OURS.replace("load_pairs(path)", "load_pairs(path, cache_gb=0)")
# A first batch as training takes it: 256 random captions with their images.
CACHED = (
    OURS
    + """
rows = np.sort(np.random.default_rng(0).permutation(len(pairs))[:256])
batch = pairs.text[rows].sum() + pairs.images[pairs.image_of_caption[rows]].sum()
"""
)
FRAME = """
import json, resource, sys, time
import numpy as np
path = sys.argv[1]
{imports}
started = time.perf_counter()
{body}
seconds = time.perf_counter() - started
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([seconds, usage.ru_maxrss / 1e6, usage.ru_utime + usage.ru_stime, *checksum]))
"""


def main() -> None:
    """Generate, measure, print one table, add the line."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="kk-bench-", dir=options.folder) as folder:
        path = options.file or _generate(Path(folder), options.captions, options.images)
        environ = {**os.environ, "KK_CACHE_DIR": str(Path(folder) / "cache")}
        sha256_of(path)  # so that the file is in the system's cache for everyone
        print(f"{path.name}: {path.stat().st_size / 1e6:,.0f} MB; {os.cpu_count()} cores")
        print(f"{'':24}{'seconds':>9}{'peak GB':>9}{'CPU s':>8}")
        size = round(path.stat().st_size / 1e6)
        results = {}
        for name, body, imports in (
            ("np.load and nonzero", NUMPY, ""),
            ("ours, no cache", UNCACHED, "from kaggle_kit.embeddings import load_pairs"),
            ("ours, first load", OURS, "from kaggle_kit.embeddings import load_pairs"),
            ("ours, cached + batch", CACHED, "from kaggle_kit.embeddings import load_pairs"),
        ):
            repeat = options.repeat if "first" not in name else 1
            runs = [_measure(FRAME.format(body=body, imports=imports), path, environ) for _ in range(repeat)]
            best = min(runs)
            results[name] = best
            print(f"{name:24}{best[0]:9.2f}{best[1]:9.2f}{best[2]:8.2f}", flush=True)
            assert best[3] == results["np.load and nonzero"][3], "the indices differ"
    print(
        f"np.load takes {results['np.load and nonzero'][0] / results['ours, first load'][0]:.1f} times as long as our first load"
    )
    remember(
        "bench_load",
        {
            "file_mb": size,
            **{name: dict(zip(("wall_s", "peak_gb", "cpu_s"), best, strict=False)) for name, best in results.items()},
        },
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=125_000)
    parser.add_argument("--images", type=int, default=25_000)
    parser.add_argument(
        "--repeat", type=int, default=1, help="measure so often and keep the fastest (the first load: once)"
    )
    parser.add_argument("--file", type=Path, help="an existing training file instead of a generated one")
    parser.add_argument("--folder", type=Path, help="where temporary files go")
    return parser.parse_args()


def _generate(folder: Path, captions: int, images: int) -> Path:
    code = (
        "import sys; from pathlib import Path; from kaggle_kit.embeddings import generate_competition;"
        f"generate_competition(Path(sys.argv[1]), captions={captions}, images={images}, text_dim=1024, image_dim=1536)"
        ";import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True)
    print(f"generated in {time.perf_counter() - started:.0f} s with {float(done.stdout):.2f} GB of memory")
    return folder / "train/train/train.npz"


def _measure(code: str, path: Path, environ: dict[str, str]) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True, env=environ
    )
    return list(json.loads(done.stdout))


if __name__ == "__main__":
    main()
