// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"strings"
)

// Merge puts the values of the configuration files between the command and the
// rest of the command line. So the command line comes last: it overrides plain
// flags and adds to repeatable ones.
func Merge(args []string, env func(string) string, warn func(string)) ([]string, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("no command")
	}
	file, named := configFlag(args, env)
	fromFiles, err := fileArgs(file, named)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	merged := []string{args[0]}
	for _, a := range fromFiles {
		name, _, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if _, ok := lookup(args[0], name); !ok {
			warn(fmt.Sprintf("unknown flag --%s found in the configuration files, skipping", name))
			continue
		}
		merged = append(merged, a)
	}
	return append(merged, args[1:]...), nil
}

func configFlag(args []string, env func(string) string) (file string, named bool) {
	if v := env("K3S_CONFIG_FILE"); v != "" {
		return v, true
	}
	for i, a := range args {
		for _, name := range []string{"--config", "-c"} {
			if a == name && i+1 < len(args) {
				return args[i+1], true
			}
			if v, ok := strings.CutPrefix(a, name+"="); ok {
				return v, true
			}
		}
	}
	return DefaultFile, false
}

// values holds what the flags were set to.
type values map[string][]string

func (v values) last(name, absent string) string {
	if l := v[name]; len(l) > 0 {
		return l[len(l)-1]
	}
	return absent
}

func (v values) on(name string) (bool, error) {
	switch s := v.last(name, "false"); s {
	case "true", "1", "t", "T", "True", "TRUE":
		return true, nil
	case "false", "0", "f", "F", "False", "FALSE", "":
		return false, nil
	default:
		return false, fmt.Errorf("flag --%s: %q is not a bool", name, s)
	}
}

// parse reads merged arguments (the command first). Unlike a key of a file, an
// unknown flag on the command line is an error.
func parse(args []string, env func(string) string) (values, error) {
	v := values{}
	for i := 1; i < len(args); i++ {
		a := args[i]
		if !strings.HasPrefix(a, "-") || a == "-" {
			return nil, fmt.Errorf("unexpected argument %q", a)
		}
		name, value, has := strings.Cut(strings.TrimLeft(a, "-"), "=")
		f, ok := lookup(args[0], name)
		if !ok {
			return nil, fmt.Errorf("flag provided but not defined: %s", "-"+name)
		}
		if !has {
			if f.Kind == Switch {
				value = "true"
			} else if i+1 < len(args) {
				i++
				value = args[i]
			} else {
				return nil, fmt.Errorf("flag needs an argument: --%s", f.Name)
			}
		}
		v[f.Name] = append(v[f.Name], value)
	}
	for _, f := range Flags {
		if s := env(f.Env); f.Env != "" && s != "" && len(v[f.Name]) == 0 {
			v[f.Name] = []string{s}
		}
	}
	return v, nil
}

const omitted = "********"

// secretFlags are those whose values k3s leaves out of the Node annotation.
var secretFlags = map[string]bool{"--token": true, "-t": true}

// NodeArgs is the value of the annotation k3s.io/node-args: the merged
// arguments as a JSON list, `--flag=value` as two entries, secrets masked.
func NodeArgs(merged []string) string {
	list := []string{}
	for _, a := range merged {
		if name, value, ok := strings.Cut(a, "="); ok && strings.HasPrefix(a, "--") {
			list = append(list, name, value)
		} else {
			list = append(list, a)
		}
	}
	for i := range list {
		if secretFlags[list[i]] && i+1 < len(list) {
			list[i+1] = omitted
		}
		if strings.HasPrefix(list[i], "-t=") {
			list[i] = "-t=" + omitted
		}
	}
	return encode(list)
}

// NodeEnv is the value of k3s.io/node-env: the K3S_ variables as a JSON map.
func NodeEnv(environ []string) string {
	m := map[string]string{}
	for _, kv := range environ {
		if k, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(k, "K3S_") {
			if k == "K3S_TOKEN" {
				v = omitted
			}
			m[k] = v
		}
	}
	return encode(m)
}

func encode(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // lists and maps of strings always encode
	}
	return string(data)
}

// ConfigHash is the value of k3s.io/node-config-hash.
func (c *Config) ConfigHash() string {
	sum := sha256.Sum256([]byte(c.NodeArgs + c.NodeEnv))
	return base32.StdEncoding.EncodeToString(sum[:])
}
