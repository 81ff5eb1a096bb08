// SPDX-License-Identifier: GPL-3.0-or-later

package deploy

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

type fate int

const (
	apply fate = iota
	disable
	ignore
)

type manifest struct {
	path    string
	fate    fate
	changed time.Time // mtime
}

// scan walks the manifests directory in name order and says what becomes of
// each file. Disabled beats skipped.
func scan(base string, disabled map[string]bool) ([]manifest, error) {
	var list []manifest
	skips := map[string]bool{}
	err := filepath.WalkDir(base, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		// A .skip file counts by its bare name, wherever it and the manifest lie.
		if name, ok := strings.CutSuffix(d.Name(), ".skip"); ok {
			skips[name] = true
		}
		list = append(list, manifest{path: path, changed: info.ModTime()})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b manifest) int { return strings.Compare(a.path, b.path) })
	for i := range list {
		m := &list[i]
		name := filepath.Base(m.path)
		switch {
		case isDisabled(base, m.path, disabled):
			m.fate = disable
		case strings.HasPrefix(name, ".") || skips[name] || !isManifest(name):
			m.fate = ignore
		}
	}
	return list, nil
}

func isManifest(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// isDisabled looks for the file's name without its last extension, and for the
// directories it lies in (metrics-server is one).
func isDisabled(base, path string, disabled map[string]bool) bool {
	rel, err := filepath.Rel(base, path)
	if err != nil {
		return false
	}
	for dir := filepath.Dir(rel); dir != "."; dir = filepath.Dir(dir) {
		if disabled[dir] {
			return true
		}
	}
	name := filepath.Base(rel)
	return isManifest(name) && disabled[strings.TrimSuffix(name, filepath.Ext(name))]
}

// addonName is the file's name up to its first dot. So two files can share one
// AddOn, and then each prunes what the other applied: k3s does that too.
func addonName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".")
	return name
}

func checksum(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// parseObjects reads all objects of a manifest; lists are taken apart.
func parseObjects(content []byte) ([]runtime.Object, error) {
	var objects []runtime.Object
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, err
		}
		if isEmpty(doc) {
			continue
		}
		data, err := yaml.ToJSON(doc)
		if err != nil {
			return nil, err
		}
		obj, _, err := unstructured.UnstructuredJSONScheme.Decode(data, nil, nil)
		if err != nil {
			return nil, err
		}
		if list, ok := obj.(*unstructured.UnstructuredList); ok {
			for i := range list.Items {
				objects = append(objects, &list.Items[i])
			}
			continue
		}
		objects = append(objects, obj)
	}
}

// isEmpty: nothing but white space, comments and separators.
func isEmpty(doc []byte) bool {
	for line := range bytes.Lines(doc) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && string(line) != "---" {
			return false
		}
	}
	return true
}
