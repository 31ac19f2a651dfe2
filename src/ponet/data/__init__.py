"""Tables and corpora in: one reader for every command."""
