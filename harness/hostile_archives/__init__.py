"""A corpus of archives and handlers that have to be refused, each with its cause and culprit."""
