"""Reports for people: a page as a list of blocks, and how its pictures are drawn."""
