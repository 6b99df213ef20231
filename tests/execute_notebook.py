"""Execute a notebook as Kaggle does and save it: ``python execute.py NOTEBOOK KERNEL``."""

import sys
from pathlib import Path

import nbclient
import nbformat

path, kernel = Path(sys.argv[1]), sys.argv[2]
notebook = nbformat.read(path, as_version=4)
client = nbclient.NotebookClient(notebook, timeout=300, kernel_name=kernel, resources={"metadata": {"path": "."}})
try:
    client.execute()
finally:
    nbformat.write(notebook, path)
