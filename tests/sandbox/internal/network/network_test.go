// SPDX-License-Identifier: GPL-3.0-or-later

package network

import (
	"os"
	"testing"
)

func TestAncestorsAreTheProcessAndThoseItDescendsFrom(t *testing.T) {
	line := ancestors(os.Getpid())
	if !line[os.Getpid()] || !line[os.Getppid()] {
		t.Errorf("%v lacks %d or its parent %d", line, os.Getpid(), os.Getppid())
	}
	if line[1] {
		t.Error("the first process is everybody's: it is not spared")
	}
}
