// SPDX-License-Identifier: GPL-3.0-or-later

package k3s

import (
	"slices"
	"strings"
)

// Arguments is a component's command line before the user's own arguments.
type Arguments map[string]string

// With adds the user's arguments (name=value, as kubelet-arg and its siblings
// take them). A name the user gives replaces the default; given several times,
// it is passed several times. The order is stable.
func (a Arguments) With(user []string) []string {
	given := map[string]bool{}
	for _, u := range user {
		name, _, _ := strings.Cut(strings.TrimLeft(u, "-"), "=")
		given[name] = true
	}
	var args []string
	for name, value := range a {
		if !given[name] {
			args = append(args, "--"+name+"="+value)
		}
	}
	slices.Sort(args)
	for _, u := range user {
		args = append(args, "--"+strings.TrimLeft(u, "-"))
	}
	return args
}
