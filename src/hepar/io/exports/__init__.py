"""Results to DICOM and to surfaces, each file read back and compared before it takes its name.

    source = source_of(reading)                          # source: headers of the slices, missing UIDs made
    marked = Marked(reading.on_slices(parts), names)     # what to export, on the slices of the files
    write_seg(marked, source, maker, path)               # seg: DICOM SEG
    write_sr(findings, seg, source, maker, path)         # sr: TID 1500
    write_rtstruct(marked, source, maker, path)          # rtstruct: contours
    write_mesh([surface_of(mask, grid, name)], path)     # mesh, mesh_files: STL, PLY, GLB
    write_captures(hu, marked, source, maker, folder)    # capture: key slices as Secondary Capture

What does not come back as it was written raises OutputError, and no file is left.
"""
