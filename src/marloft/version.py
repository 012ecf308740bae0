"""The version of marloft, in a module of its own: `marloft` names parts that ask for it."""

__version__ = "0.1.0"
