// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// DefaultFile is read when neither --config nor K3S_CONFIG_FILE names another.
const DefaultFile = "/etc/rancher/k3s/config.yaml"

// entry is one key of the merged files, with its values in order.
type entry struct {
	key    string
	values []string
	list   bool
}

// fileArgs reads file and its .d directory and returns their content as
// command-line arguments. The files are read in order, the main one first. A
// key seen again replaces the earlier value; written `key+` it appends, to
// lists and to scalars alike. Keys keep the place of their first appearance.
func fileArgs(file string, required bool) ([]string, error) {
	files, err := configFiles(file, required)
	if err != nil {
		return nil, err
	}
	var order []*entry
	seen := map[string]*entry{}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		entries, err := parseFile(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, e := range entries {
			key, appends := strings.CutSuffix(e.key, "+")
			old, again := seen[key]
			switch {
			case !again:
				e := &entry{key, e.values, e.list}
				seen[key] = e
				order = append(order, e)
			case appends:
				old.values = append(old.values, e.values...)
				old.list = true
			default:
				old.values, old.list = e.values, e.list
			}
		}
	}
	var args []string
	for _, e := range order {
		dashes := "--"
		if len(e.key) == 1 {
			dashes = "-"
		}
		for _, v := range e.values {
			args = append(args, dashes+e.key+"="+v)
		}
	}
	return args, nil
}

// configFiles lists the main file and config.yaml.d/*.yaml|yml in name order.
// A missing main file is an error only where it was asked for by name; its .d
// directory counts either way.
func configFiles(file string, required bool) ([]string, error) {
	var files []string
	_, err := os.Stat(file)
	switch {
	case err == nil:
		files = append(files, file)
	case !errors.Is(err, fs.ErrNotExist) || required:
		return nil, err
	}
	entries, err := os.ReadDir(file + ".d")
	if errors.Is(err, fs.ErrNotExist) {
		return files, nil
	} else if err != nil {
		return nil, err
	}
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if !e.IsDir() && (ext == ".yaml" || ext == ".yml") {
			files = append(files, filepath.Join(file+".d", e.Name()))
		}
	}
	return files, nil
}

func parseFile(data []byte) ([]entry, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, errors.New("not a map of flags")
	}
	var entries []entry
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i].Value, root.Content[i+1]
		if value.Kind == yaml.AliasNode {
			value = value.Alias
		}
		e := entry{key: key}
		switch value.Kind {
		case yaml.ScalarNode:
			e.values = []string{scalar(value)}
		case yaml.SequenceNode:
			e.list = true
			for _, item := range value.Content {
				if item.Kind != yaml.ScalarNode {
					return nil, fmt.Errorf("key %s: a list may hold plain values only", key)
				}
				e.values = append(e.values, scalar(item))
			}
		default:
			return nil, fmt.Errorf("key %s: neither a plain value nor a list", key)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func scalar(n *yaml.Node) string {
	if n.Tag == "!!null" {
		return ""
	}
	return n.Value
}
