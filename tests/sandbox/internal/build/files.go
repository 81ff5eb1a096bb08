// SPDX-License-Identifier: GPL-3.0-or-later

package build

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// sourceText is every file below some paths of a tree, in a fixed order, as one string. Tests are left out: they are
// in no program.
func sourceText(root string, paths ...string) (string, error) {
	var text strings.Builder
	for _, p := range paths {
		err := filepath.WalkDir(filepath.Join(root, p), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, path)
			fmt.Fprintf(&text, "%s %d\n%s", rel, len(b), b)
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return text.String(), nil
}

func copyProgram(source, target string) error {
	in, err := os.Open(source) // through symbolic links: the target has no other tree to point into
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// stamp names a big file of the user's by what changes when it changes, without reading it.
func stamp(path string) string {
	st, err := os.Stat(path)
	if err != nil {
		return path + " " + err.Error()
	}
	return fmt.Sprintf("%s %d %d", path, st.Size(), st.ModTime().UnixNano())
}

func airgapArchives(k3s string) []string {
	found, err := filepath.Glob(filepath.Join(filepath.Dir(k3s), "k3s-airgap-images-*.tar*"))
	if err != nil {
		return nil // the pattern is right: only a directory named with brackets gets here
	}
	return found
}
