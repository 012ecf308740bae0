"""Clients that a server on the open internet meets: malformed requests, slow ones, and fuzz."""
