"""`python -m hepar` is `hepar`."""

from __future__ import annotations

from hepar.cli import main

if __name__ == "__main__":
    main()
