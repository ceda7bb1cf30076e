"""The registry of the distribution project: `registry` 3 in Go, and Debian's 2.8.

Both sync a blob's file before they acknowledge it (`fileWriter.Commit` and `Close` in
`registry/storage/driver/filesystem/driver.go` of 2.8.3 and of 3.1.1). Of directories, 3 syncs
those of small files such as links, but not the blob's own after its rename; 2.8 syncs none. So
they guarantee a little less than dtrfast, and the comparison needs no other settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.peer import REGISTRY, Program, Start, output_of

# A JSON string is valid YAML, so paths need no other quoting.
_SETTINGS = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: "{data}"}}
  delete: {{enabled: true}}
  cache: {{blobdescriptor: inmemory}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http:
  addr: "127.0.0.1:{port}"
  relativeurls: true
"""
_TLS = '  tls: {{certificate: "{chain}", key: "{key}"}}\n'


class Distribution(Program):
    """One of the two versions. Their settings are the same."""

    durability = "the blob's file, not its directory"

    def __init__(self, name: str, program: Path) -> None:
        super().__init__(name, program, REGISTRY)

    def version(self) -> str:
        return f"{self.name} {output_of(self.program, '--version').rpartition(' ')[2]}"

    def command(self, start: Start, port: int) -> Sequence[str]:
        settings = _SETTINGS.format(data=start.data, port=port)
        if start.certificate:
            settings += _TLS.format(chain=start.certificate.chain, key=start.certificate.key)
        path = start.home / "config.yml"
        path.write_text(settings)
        return [str(self.program), "serve", str(path)]

    def environment(self) -> dict[str, str]:
        return {"OTEL_TRACES_EXPORTER": "none"}
