"""The reference application: a feed ranker for movies, the only package that knows what one is."""
