"""A fast stand-in for the service, so that the server is not what is measured."""

from benchmarks.standin.client import Standin, standin

__all__ = ["Standin", "standin"]
