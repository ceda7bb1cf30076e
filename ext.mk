# Targets of the compiled kernels; included by the Makefile. PYTHON may be overridden.

PYTHON ?= .venv/bin/python
asan_dir = build/asan

.PHONY: ext ext-check asan

ext:
	$(PYTHON) setup.py -q build_ext --inplace

# Linters and the stub. A performance hint of Cython marks a hidden use of the GIL.
ext-check: ext
	$(dir $(PYTHON))cython-lint --no-pycodestyle --max-line-length 100 ext/*.pyx ext/*.pxd
	$(PYTHON) -m mypy.stubtest dtrfast._core
	mkdir -p build
	$(PYTHON) -m cython -3 -I ext ext/core.pyx -o build/hints.c 2>build/hints.txt
	! grep -i "performance hint" build/hints.txt

# Runs the tests on a copy of the package, so that the sanitized module is the one imported.
# The interpreter is not built with the sanitizer, hence the preloads; it leaks at exit by design.
asan:
	rm -rf $(asan_dir) && mkdir -p $(asan_dir)
	DTRFAST_SANITIZE=1 $(PYTHON) setup.py -q build_ext --build-temp build/asan-objects \
		--build-lib $(asan_dir)
	cp -r dtrfast/__init__.py dtrfast/_core.pyi $(asan_dir)/dtrfast/
	cp -r pyproject.toml ext $(asan_dir)/
	mkdir -p $(asan_dir)/tests/golden && cp tests/__init__.py $(asan_dir)/tests/
	cp -r tests/ext $(asan_dir)/tests/ && cp tests/golden/cut_points* $(asan_dir)/tests/golden/
	cd $(asan_dir) && DTRFAST_SANITIZE=1 PYTHONMALLOC=malloc PYTHONDONTWRITEBYTECODE=1 \
		LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
		ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
		$(abspath $(PYTHON)) -m pytest -q -p no:cacheprovider tests/ext
