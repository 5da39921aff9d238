"""Training: cases in, a run folder and a segmenter out. Needs torch (`pip install hepar[train]`)."""
