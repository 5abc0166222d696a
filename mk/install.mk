# SPDX-License-Identifier: GPL-2.0-or-later
# make install, uninstall, man. DESTDIR and PREFIX as usual.
BINDIR := $(DESTDIR)$(PREFIX)/bin
LIBEXECDIR := $(DESTDIR)$(PREFIX)/libexec/abyme
MANDIR := $(DESTDIR)$(PREFIX)/share/man
COMPLETIONDIR := $(DESTDIR)$(PREFIX)/share/bash-completion/completions
HELPERS := $(filter-out abyme,$(PROGS))
MAN := $(patsubst docs/man/%.scd,$(B)/man/%,$(wildcard docs/man/*.scd))

.PHONY: install uninstall man
man: $(MAN)
$(B)/man/%: docs/man/%.scd
	@mkdir -p $(@D)
	@echo "  MAN  $@"
	@scdoc <$< >$@.tmp && mv $@.tmp $@
install: all man
	install -d $(BINDIR) $(LIBEXECDIR) $(COMPLETIONDIR)
	install -m 755 $(B)/abyme $(BINDIR)/abyme
	for h in $(HELPERS); do install -m 755 $(B)/$$h $(LIBEXECDIR)/$$h; done
	for m in $(MAN); do install -D -m 644 $$m $(MANDIR)/man$${m##*.}/$$(basename $$m); done
	install -m 644 scripts/abyme.bash $(COMPLETIONDIR)/abyme
uninstall:
	rm -f $(BINDIR)/abyme $(COMPLETIONDIR)/abyme
	rm -rf $(LIBEXECDIR)
	for m in $(MAN); do rm -f $(MANDIR)/man$${m##*.}/$$(basename $$m); done
