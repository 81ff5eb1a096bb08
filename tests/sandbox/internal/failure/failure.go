// SPDX-License-Identifier: GPL-3.0-or-later

// Package failure carries the exit status with the words: each kind of failure of the sandbox has its own.
package failure

import (
	"errors"
	"fmt"
)

// Exit statuses. exec, kubectl and net pass on the status of the command they run instead.
const (
	Internal = 1 // a fault of the sandbox
	Usage    = 2 // the command line is wrong
	Machine  = 3 // the machine lacks something
	Absent   = 4 // no such cluster or node, or it is not running
	Build    = 5 // a component could not be built
	NotReady = 6 // the cluster did not become ready in time
	Busy     = 7 // another up or down of this cluster is at work
)

// Error is a sentence for the user with the exit status that belongs to it.
type Error struct {
	Exit int
	Text string
}

func (e *Error) Error() string { return e.Text }

// New makes an error with an exit status.
func New(exit int, format string, args ...any) error {
	return &Error{exit, fmt.Sprintf(format, args...)}
}

// Exit is the status for an error: its own, or Internal.
func Exit(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Exit
	}
	return Internal
}
