# SPDX-License-Identifier: GPL-2.0-or-later
# make            build/abyme and its helpers      make deps    what it needs
# make check      all tests                        make lint    style and analysis
# make SANITIZE=address,undefined check            make fuzz    longer fuzzing
CC ?= gcc
PREFIX ?= /usr/local
SANITIZE ?=
B := build$(if $(SANITIZE),-san)
PKGS := libuv jansson libcyaml liburing libseccomp libcap-ng slirp zydis
OPT ?= -O2 -g
WARN := -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes -Werror \
	-Wno-unused-parameter -Wno-format-truncation -Wno-missing-field-initializers
SAN := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
CFLAGS_ALL = -std=gnu17 -D_GNU_SOURCE -Isrc -I$(B)/gen $(OPT) $(WARN) $(SAN) -fno-strict-aliasing \
	-fstack-protector-strong $(CFLAGS) -MMD -MP -pthread
include mk/rules.mk
include mk/install.mk
include mk/lint.mk
include mk/guest.mk
include mk/campaign.mk
