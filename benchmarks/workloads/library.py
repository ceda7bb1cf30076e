"""The stock of the small requests: repositories with small images.

100 images of four layers of 2 KB, so that a manifest has the usual size of about 1 KB. They are
too many for one page of memory, and a server is filled in a second.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.cases import Stage, Stock
from benchmarks.content.images import Image, holding_of, images
from benchmarks.content.layers import Kind, layers

REPOSITORY = "library/small"
LAYER_SIZE = 2048
_IMAGES = 100
_LAYERS = 4


def library(folder: Path) -> tuple[Image, ...]:
    """Make the images."""
    blobs = layers(folder, Kind.GZIP, _IMAGES * _LAYERS, LAYER_SIZE)
    its = [blobs[first : first + _LAYERS] for first in range(0, len(blobs), _LAYERS)]
    return images(folder, its, [f"v1.{number}" for number in range(_IMAGES)])


class Library(Stock):
    """The stock of these images in one repository."""

    def after(self, stage: Stage) -> None:
        """Push the images."""
        stage.server.fill([holding_of(REPOSITORY, stage.workshop.get(library))])


LIBRARY = Library()
