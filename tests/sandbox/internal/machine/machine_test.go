// SPDX-License-Identifier: GPL-3.0-or-later

package machine

import (
	"os"
	"strings"
	"testing"

	"k3s-ha.core/sandbox/internal/failure"
)

func TestMissingProgramsAreNamedByPackage(t *testing.T) {
	err := Require([]Tool{{"sh", "dash"}, {"no-such-program", "its-package"}, {"nor-this", "another"}})
	if failure.Exit(err) != failure.Machine || !strings.HasSuffix(err.Error(), "apt-get install its-package another") {
		t.Errorf("%v", err)
	}
	if err := Require([]Tool{{"sh", "dash"}}); err != nil {
		t.Error(err)
	}
}

func TestAnOrdinaryUserIsTold(t *testing.T) {
	t.Setenv("PATH", os.Getenv("PATH")) // Check adds to it
	if _, err := Check(); os.Geteuid() != 0 && (failure.Exit(err) != failure.Machine || !strings.Contains(err.Error(), "root")) {
		t.Errorf("%v", err)
	}
}

// The list that tests/setup installs has everything that is asked for.
func TestPackagesAreListed(t *testing.T) {
	list, err := os.ReadFile("../../packages.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range append(append([]Tool{}, RunTools...), BuildTools...) {
		if !strings.Contains(string(list), "\n"+tool.Package+"\n") {
			t.Errorf("packages.txt lacks %s", tool.Package)
		}
	}
}
