/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MSI-X as pci.c sees it; devices use pci.h. */
#ifndef DEVICE_MSIX_H
#define DEVICE_MSIX_H

#include "device/pci.h"

void msix_reset(struct pci_function *f);
void msix_config_written(struct pci_function *f);
void msix_xfer(struct pci_function *f, struct state *s);
void msix_free_all(struct pci_msix *list);
/* The bus's list, on which pci_msix_add puts each new one. */
struct pci_msix **pci_msix_list(struct pci_function *f);

#endif
