"""Two scans of one patient -> what became of each lesion.

    motion = register(first, second)           # registration: rigid, liver on liver, then CT on CT
    found = compare(first, second)             # changes: which lesion is which, new, vanished, grown, split...
    comparison_page(found)                     # page, tables: HTML, JSON, CSV

A `TimePoint` is a scan's labels and, where known, its CT.
"""
