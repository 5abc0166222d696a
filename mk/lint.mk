# SPDX-License-Identifier: GPL-2.0-or-later
# make lint: the house's own rules, shellcheck, cppcheck, man pages.
.PHONY: lint
lint: man
	/usr/bin/python3 scripts/lint.py
	shellcheck try check .ci/run scripts/*.sh bench/boot bench/disk bench/microvm
	cppcheck -q --std=c11 --enable=warning,portability --inline-suppr --error-exitcode=1 \
		--suppress=missingInclude --suppress=unknownMacro --suppress=nullPointerArithmetic --suppress=nullPointerArithmeticRedundantCheck \
		--suppress=arrayIndexOutOfBoundsCond --suppress=pointerOutOfBoundsCond --suppress=shiftTooManyBitsSigned \
		--suppress=pointerOutOfBounds --suppress=comparePointers --suppress=internalAstError \
		-j $$(nproc) -Isrc src
