"""A container registry for busy CI. Only the version lives here."""

__version__ = "0.2.0"
