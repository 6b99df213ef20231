"""What ``kk doctor`` looks at, and what it tells."""
