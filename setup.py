"""The compiled module `dtrfast._core`: its sources and flags, nothing else.

CORE_WERROR=1 makes warnings errors; CORE_SANITIZE=1 builds with the address and undefined
behaviour sanitizers (see ext.mk). No -march: kernels for special instructions carry their target
as a function attribute and are chosen at run time.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

compile_flags = ["-O3", "-std=gnu11", "-fvisibility=hidden", "-Wall", "-Wextra"]
link_flags = []
if os.environ.get("CORE_WERROR") == "1":
    compile_flags.append("-Werror")
if os.environ.get("CORE_SANITIZE") == "1":
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    compile_flags += [*sanitizers, "-fno-omit-frame-pointer", "-g", "-O1"]
    link_flags += sanitizers

core = Extension(
    "dtrfast._core",
    ["ext/core.pyx", *sorted(map(str, Path("ext").glob("*.c")))],
    depends=sorted(map(str, Path("ext").glob("*.*"))),
    include_dirs=["ext"],
    extra_compile_args=compile_flags,
    extra_link_args=link_flags,
)

setup(ext_modules=cythonize([core], include_path=["ext"], build_dir="build/cython"))
