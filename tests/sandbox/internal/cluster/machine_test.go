// SPDX-License-Identifier: GPL-3.0-or-later

package cluster

import (
	"os"
	"strings"
	"testing"

	"k3s-ha.core/sandbox/internal/failure"
)

func TestMissingProgramsAreNamedByPackage(t *testing.T) {
	t.Setenv("PATH", os.Getenv("PATH")) // checkMachine adds to it
	_, err := checkMachine([]tool{{"sh", "dash"}, {"no-such-program", "its-package"}})
	if os.Geteuid() != 0 {
		if failure.Exit(err) != failure.Machine || !strings.Contains(err.Error(), "root") {
			t.Errorf("as an ordinary user: %v", err)
		}
		return
	}
	if failure.Exit(err) != failure.Machine || !strings.HasSuffix(err.Error(), "apt-get install its-package") {
		t.Errorf("%v", err)
	}
}
