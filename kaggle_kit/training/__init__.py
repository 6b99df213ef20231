"""Training: losses, batches on the device, precision, the loop of one fold, checkpoints, cross-validation."""
