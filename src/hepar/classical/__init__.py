"""Methods from before deep learning: tiles and their features, classifiers of tiles, region growing, surfaces.

Arrays and volumes in, numbers and masks out; no torch. What is learned here is
arrays and settings, so that it is stored without running code when it is loaded.
"""
