// SPDX-License-Identifier: GPL-3.0-or-later

// Package e2e tests the sandbox by its own command line, on clusters that it starts itself.
package e2e
