"""The DICOM node: takes in CT series, segments them, and sends segmentation and report on.

    settings = read_settings(Path("node.toml"))     # settings: checked at the door
    Node(settings).run()                            # node: until SIGTERM

    C-STORE -> scp -> Inbox (a file a slice, answered once it is on the disk)
    Inbox -> completion: idle, and all that the archive counts -> JobQueue
    JobQueue -> work: segment -> SEG and SR -> Outbox (a folder a result)
    Outbox -> sending: C-STORE (dimse) or STOW-RS (web), until each destination said yes

What is on the disk is the state. Each step takes over from the one before by
one rename or one transaction, so a node that is killed goes on where it was,
and a result has the same UIDs however often it is made or sent.
"""
