// SPDX-License-Identifier: GPL-3.0-or-later

package build

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k3s-ha.core/sandbox/internal/progress"
	"k3s-ha.core/sandbox/internal/state"
)

// What nobody has used for this long goes: every change of a source makes a new entry beside the old one.
const keep = 7 * 24 * time.Hour

// touch marks entries as used now. One that a caller did without is not there.
func touch(paths []string) error {
	now := time.Now()
	if self, err := os.Executable(); err == nil {
		paths = append(paths, filepath.Dir(self)) // the start script keeps this program in the cache, too
	}
	for _, p := range paths {
		if err := os.Chtimes(p, now, now); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// prune removes old entries, but nothing while a cluster runs that may use it. The caller holds the lock.
func prune(cache string) error {
	if clusters, err := state.All(); err != nil || len(clusters) > 0 {
		return err
	}
	entries, err := os.ReadDir(cache)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return err
		}
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") || time.Since(info.ModTime()) < keep {
			continue
		}
		progress.Step("remove %s from the cache: not used for %.0f days", e.Name(), time.Since(info.ModTime()).Hours()/24)
		if err := os.RemoveAll(filepath.Join(cache, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
