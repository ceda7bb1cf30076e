# Targets of the compiled kernels; included by the Makefile. PYTHON may be overridden.

PYTHON ?= .venv/bin/python
asan_dir = build/asan

CLANG ?= clang
# How long each fuzzer looks for something new; what is kept in tests/fuzz/corpus runs in any case.
FUZZ_SECONDS ?= 13
fuzz_dir = build/fuzz
fuzzers = $(fuzz_dir)/head $(fuzz_dir)/chunked $(fuzz_dir)/replay

.PHONY: ext ext-check asan fuzz

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
	CORE_SANITIZE=1 $(PYTHON) setup.py -q build_ext --build-temp build/asan-objects \
		--build-lib $(asan_dir)
	cp -r dtrfast/__init__.py dtrfast/_core.pyi $(asan_dir)/dtrfast/
	cp -r pyproject.toml ext $(asan_dir)/
	mkdir -p $(asan_dir)/tests/golden && cp tests/__init__.py $(asan_dir)/tests/
	cp -r tests/ext $(asan_dir)/tests/
	cp tests/golden/cut_points* tests/golden/encoders* $(asan_dir)/tests/golden/
	cd $(asan_dir) && CORE_SANITIZE=1 PYTHONMALLOC=malloc PYTHONDONTWRITEBYTECODE=1 \
		LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
		ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
		$(abspath $(PYTHON)) -m pytest -q -p no:cacheprovider tests/ext

# What a fuzzer found stays in build/fuzz/found, so the next run begins where this one ended. An
# input that breaks something is written to build/fuzz too; once the kernel is mended it belongs into
# tests/fuzz/corpus.
fuzz: $(fuzzers)
	@for name in $(notdir $(fuzzers)); do \
		mkdir -p $(fuzz_dir)/found/$$name; \
		$(fuzz_dir)/$$name -max_total_time=$(FUZZ_SECONDS) -dict=tests/fuzz/$$name.dict \
			-artifact_prefix=$(fuzz_dir)/$$name- -print_final_stats=1 -verbosity=0 \
			$(fuzz_dir)/found/$$name tests/fuzz/corpus/$$name >$(fuzz_dir)/$$name.log 2>&1 || \
			{ cat $(fuzz_dir)/$$name.log; exit 1; }; \
		echo "$$name: nothing wrong in" $$(sed -n 's/.*executed_units: *//p' $(fuzz_dir)/$$name.log) inputs; \
	done

$(fuzz_dir)/%: tests/fuzz/%.c tests/fuzz/bytes.h ext/%.c ext/%.h ext/octets.c ext/octets.h
	mkdir -p $(fuzz_dir)
	$(CLANG) -std=gnu11 -O1 -g -Wall -Wextra -Werror -fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=all -Iext -o $@ $(filter %.c,$^)

# The encoders consist of many files, so all kernels are compiled in. -O2: a stream is long.
$(fuzz_dir)/replay: tests/fuzz/replay.c tests/fuzz/bytes.h $(wildcard ext/*.c ext/*.h)
	mkdir -p $(fuzz_dir)
	$(CLANG) -std=gnu11 -O2 -g -Wall -Wextra -Werror -fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=all -Iext -o $@ $(filter %.c,$^)
