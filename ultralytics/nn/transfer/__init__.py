"""Weight transfer between networks of different architecture."""
