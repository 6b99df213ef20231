"""One module for each command of ``kk``."""
