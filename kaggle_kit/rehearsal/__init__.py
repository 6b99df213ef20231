"""Trying everything out without Kaggle: a server on this machine that plays a competition for real."""
