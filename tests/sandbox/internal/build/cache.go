// SPDX-License-Identifier: GPL-3.0-or-later

// Package build makes what the nodes are made of, and keeps it in a cache outside the source tree. An entry's name
// ends in a digest of all that went into it, so what is there is right and is never built again.
package build

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"k3s-ha.core/sandbox/internal/failure"
	"k3s-ha.core/sandbox/internal/progress"
)

// CacheDir is shared by all clones of the project.
func CacheDir() (string, error) {
	if d := os.Getenv("K3S_CORE_HA_CACHE"); d != "" {
		return filepath.Join(d, "sandbox"), nil
	}
	d, err := os.UserCacheDir() // XDG_CACHE_HOME, else ~/.cache
	if err != nil {
		return "", failure.New(failure.Machine, "no place for the cache: %v; set K3S_CORE_HA_CACHE", err)
	}
	return filepath.Join(d, "k3s-core-ha", "sandbox"), nil
}

// entry is one thing in the cache: a directory that make fills.
type entry struct {
	name   string
	inputs []string // all that decides what comes out
	about  string   // how long it takes, for people
	make   func(dir string) error
}

func digest(inputs ...string) string {
	h := sha256.New()
	for _, in := range inputs {
		fmt.Fprintf(h, "%d:%s", len(in), in)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func (b *Builder) path(e entry) string {
	return filepath.Join(b.cache, e.name+"-"+digest(e.inputs...))
}

func (b *Builder) has(e entry) bool {
	_, err := os.Stat(b.path(e))
	return err == nil
}

// need makes an entry if it is not there and returns its directory.
func (b *Builder) need(e entry) (string, error) {
	dir := b.path(e)
	if b.has(e) {
		return dir, nil
	}
	progress.Step("build %s%s", e.name, e.about)
	started := time.Now()
	done := make(chan struct{})
	defer close(done)
	go func() {
		for tick := time.NewTicker(20 * time.Second); ; {
			select {
			case <-done:
				tick.Stop()
				return
			case <-tick.C:
				progress.Step("build %s: at it for %.0f s", e.name, time.Since(started).Seconds())
			}
		}
	}()
	tmp, err := os.MkdirTemp(b.cache, ".making-"+e.name+"-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chmod(tmp, 0o755); err != nil {
		return "", err
	}
	if err := e.make(tmp); err != nil {
		return "", failure.New(failure.Build, "%s could not be built: %v", e.name, err)
	}
	if err := os.Rename(tmp, dir); err != nil {
		return "", err
	}
	progress.Step("build %s: done in %.0f s", e.name, time.Since(started).Seconds())
	return dir, nil
}

// lock lets one builder at a time fill the cache; another waits and then finds everything there.
func lock(cache string) (release func(), err error) {
	f, err := os.OpenFile(filepath.Join(cache, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		progress.Step("another run is building; waiting for it")
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// sweep removes what builders left that were killed at work. The caller holds the lock.
func sweep(cache string) error {
	left, err := filepath.Glob(filepath.Join(cache, ".making-*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		progress.Step("remove what an interrupted build left: %s", filepath.Base(dir))
		if err := os.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
