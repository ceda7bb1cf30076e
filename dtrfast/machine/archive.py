"""Archives of documents: a compressed tar file with a JSON file for each part."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Mapping
from typing import Any


def pack(document: Mapping[str, Any], name: str) -> bytes:
    """Return a document as a .tar.gz archive: the folder `name` with a file for each part.

    The part `log` is a list; it becomes a file with one JSON document a line.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for part, content in document.items():
            if isinstance(content, list) and part == "log":
                text = "".join(json.dumps(line) + "\n" for line in content)
                file_name = f"{name}/{part}.jsonl"
            else:
                text = json.dumps(content, indent=1)
                file_name = f"{name}/{part}.json"
            data = text.encode()
            entry = tarfile.TarInfo(file_name)
            entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
