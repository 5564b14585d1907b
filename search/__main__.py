"""`python -m search` does what `metasweep` does."""

from __future__ import annotations

import sys

from search.submitted import enter

if __name__ == "__main__":
    enter(sys.argv[1:])  # Before anything is imported that a cluster may lack.
    from search.cli import main

    main()
