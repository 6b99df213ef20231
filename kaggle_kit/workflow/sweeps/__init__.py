"""The search for better hyper-parameters: its space, its trials, and what they found."""
