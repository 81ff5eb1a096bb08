// SPDX-License-Identifier: GPL-3.0-or-later

package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"k3s-ha.core/sandbox/internal/state"
)

// binDir is what a node has as /opt/k3s/bin: of its own, so that nodes can be upgraded one by one.
const binDir = "bin"

// manifestsDir below it holds packaged manifests in place of those built in: how a test brings a release that has others.
const manifestsDir = "manifests"

// Install puts a bundle's programs and images on a node's disk, over those of another release if there are any. What
// runs goes on with the files it has open. manifests is a directory or empty.
func Install(c *state.Cluster, n state.Node, bundle, manifests string) error {
	to := filepath.Join(c.NodeDir(n), binDir)
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	programs, err := replaceAll(filepath.Join(bundle, "bin"), to)
	if err != nil {
		return err
	}
	if err := removeOthers(to, append(programs, manifestsDir)); err != nil {
		return err
	}
	own := filepath.Join(to, manifestsDir)
	if err := os.RemoveAll(own); err != nil {
		return err
	}
	if manifests != "" {
		if err := os.CopyFS(own, os.DirFS(manifests)); err != nil {
			return err
		}
	}
	images := filepath.Join(c.NodeDir(n), rancherDir, "k3s/agent/images")
	if err := os.MkdirAll(images, 0o755); err != nil {
		return err
	}
	sources := []string{"images"}
	if c.Traefik {
		sources = append(sources, "helm-images")
	}
	for _, s := range sources {
		if _, err := replaceAll(filepath.Join(bundle, s), images); err != nil {
			return err
		}
	}
	return nil
}

// replaceAll puts every file of one directory into another, each in one step. They are linked where the file system
// allows: none is ever written to.
func replaceAll(from, to string) (names []string, err error) {
	entries, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		names = append(names, e.Name())
		source, target := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		tmp := target + ".new"
		if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if os.Link(source, tmp) != nil {
			if err := copyFile(source, tmp); err != nil {
				return nil, err
			}
		}
		// Two links of one file are left as they are by a rename, the new name too.
		if err := errors.Join(os.Rename(tmp, target), os.RemoveAll(tmp)); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func removeOthers(dir string, kept []string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains(kept, e.Name()) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

func copyFile(source, target string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, info.Mode().Perm())
	if err != nil {
		return err
	}
	if _, err := out.ReadFrom(in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
