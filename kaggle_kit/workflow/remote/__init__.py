"""Trainings in Kaggle's notebooks, driven from here."""
