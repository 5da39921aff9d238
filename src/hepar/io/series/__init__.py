"""What a folder or .zip of DICOM holds, diagnosed before a voxel is read.

    found = examine(path)                      # diagnosis: series with their findings, headers only
    choice = choose(found.series)              # picker: the portal-venous axial one, and why
    reading = read_series(choice.series)       # reading: a straight, even volume with notes
    reading.on_slices(labels)                  # back onto the slices as the files have them

Files are `scanning`'s, one header is `header`'s; `grouping` and `interleaved`
say which slices are one stack, `stack` how they lie, `findings` what was
found wrong. Libraries space a series evenly and straighten it without a word;
here every such step is a finding that the volume carries as a note, or an error.
"""
