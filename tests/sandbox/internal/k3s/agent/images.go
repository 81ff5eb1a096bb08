// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k3s-ha.core/sandbox/internal/k3s/pki"
)

const socketWait = 60 * time.Second

// imported remembers an archive that containerd has: by content, with size and
// mtime so that an unchanged file need not be read again.
type imported struct {
	Size   int64     `json:"size"`
	Time   time.Time `json:"time"`
	SHA256 string    `json:"sha256"`
}

// importImages loads the archives in agent/images that containerd has not got
// yet, as k3s does where there is no registry.
func (a *Agent) importImages(ctx context.Context) error {
	if err := waitSocket(ctx, Socket); err != nil {
		return err
	}
	memory := a.etc("imported-images.json")
	known, err := readImported(memory)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(a.images())
	if err != nil {
		return err
	}
	have := map[string]bool{}
	for _, k := range known {
		have[k.SHA256] = true
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".tar") {
			continue
		}
		file := filepath.Join(a.images(), e.Name())
		info, err := os.Stat(file)
		if err != nil {
			return err
		}
		if k := known[e.Name()]; k.Size == info.Size() && k.Time.Equal(info.ModTime()) {
			continue
		}
		sum, err := hashFile(file)
		if err != nil {
			return err
		}
		if !have[sum] {
			began := time.Now()
			// Binaries under test find ctr beside containerd.
			cmd := exec.CommandContext(ctx, filepath.Join(a.c.Components, "ctr"), "--address="+Socket, "--namespace=k8s.io", "images", "import", file)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("import of %s: %w: %s", file, err, out)
			}
			a.group.Logf("imported %s in %s", e.Name(), time.Since(began).Round(time.Millisecond))
			have[sum] = true
		}
		known[e.Name()] = imported{info.Size(), info.ModTime(), sum}
		data, err := json.Marshal(known)
		if err != nil {
			return err
		}
		if err := pki.WriteFile(memory, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func readImported(file string) (map[string]imported, error) {
	known := map[string]imported{}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return known, nil
	} else if err != nil {
		return nil, err
	}
	return known, json.Unmarshal(data, &known)
}

func hashFile(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// waitSocket waits until someone listens: the file alone may be a dead one's.
func waitSocket(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, socketWait)
	defer cancel()
	for {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", path)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("containerd does not listen: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
