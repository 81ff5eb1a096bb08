// SPDX-License-Identifier: GPL-3.0-or-later

// Package progress writes one line for each step, with the seconds since the start.
package progress

import (
	"fmt"
	"os"
	"sync"
	"time"
)

var (
	mutex sync.Mutex
	start = time.Now()
)

// Step says what happens now.
func Step(format string, args ...any) {
	mutex.Lock()
	defer mutex.Unlock()
	fmt.Fprintf(os.Stderr, "%6.1f s  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
}
