"""Every method of the registry side by side: the same folds, the same time, the same scorer."""
