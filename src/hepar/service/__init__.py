"""Work on many scans: batches now; servers and DICOM nodes have their place here."""
