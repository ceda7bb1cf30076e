"""A real registry for the tests of other programs, in Python.

    from dtrfast import testing

    with testing.registry() as registry:
        pushed = registry.push_image("team/app:v1", [{"etc/motd": b"hello"}])
        subprocess.run(["skopeo", "inspect", "--tls-verify=false", f"docker://{pushed.reference}"])

For pytest, `dtrfast.testing.fixtures` has the same as a fixture. docs/api.md has all public names.
"""

from dtrfast.testing.content import Files, PushedManifest
from dtrfast.testing.process import ServerFailed
from dtrfast.testing.registry import Credentials, Registry, RequestFailed, registry

__all__ = [
    "Credentials",
    "Files",
    "PushedManifest",
    "Registry",
    "RequestFailed",
    "ServerFailed",
    "registry",
]
