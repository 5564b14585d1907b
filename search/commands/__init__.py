"""One file a command; `search.cli` puts them together. Heavy imports wait until a command runs."""
