// SPDX-License-Identifier: GPL-3.0-or-later

package k3s

import (
	"slices"
	"testing"
)

func TestArguments(t *testing.T) {
	got := Arguments{"b": "1", "a": "2", "c": "3"}.With([]string{"c=x", "--c=y", "new"})
	if want := []string{"--a=2", "--b=1", "--c=x", "--c=y", "--new"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
