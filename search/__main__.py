"""`python -m search` does what `metasweep` does."""

from search.cli import main

if __name__ == "__main__":
    main()
