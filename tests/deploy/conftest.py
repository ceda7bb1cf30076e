"""Fixtures of the end-to-end tests, for the tests of deploy/."""

from tests.e2e.conftest import docker_daemons, environment, new_folder, scratch

__all__ = ["docker_daemons", "environment", "new_folder", "scratch"]
