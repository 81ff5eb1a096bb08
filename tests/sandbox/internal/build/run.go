// SPDX-License-Identifier: GPL-3.0-or-later

package build

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// run runs a build tool. It dies with us, so that a killed build leaves nothing at work. When it fails, the end of
// what it said is in the error.
func run(dir string, env []string, name string, args ...string) ([]byte, error) {
	runtime.LockOSThread() // the death signal follows the thread that started the process
	defer runtime.UnlockOSThread()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		said := append(stdout.Bytes(), stderr.Bytes()...)
		return nil, fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, tail(string(said), 30))
	}
	return stdout.Bytes(), nil
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}
