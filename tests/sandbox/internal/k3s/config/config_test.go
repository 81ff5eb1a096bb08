// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"k3s-ha.core/sandbox/internal/ranges"
)

// load writes the files below a directory and loads the command line over them.
func load(t *testing.T, files map[string]string, args ...string) (*Config, []string, error) {
	t.Helper()
	dir := t.TempDir()
	main := filepath.Join(dir, "config.yaml")
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var warnings []string
	env := func(name string) string {
		if name == "K3S_CONFIG_FILE" && files["config.yaml"] != "" {
			return main
		}
		return ""
	}
	args = append([]string{args[0], "--node-ip=192.0.2.7", "--node-name=n"}, args[1:]...)
	if files["config.yaml"] == "" {
		args = append(args, "--debug") // something harmless: DefaultFile does not exist here
	}
	c, err := Load(args, env, nil, func(s string) { warnings = append(warnings, s) })
	return c, warnings, err
}

// The rules of k3s's configuration files.
func TestMerge(t *testing.T) {
	for _, test := range []struct {
		name  string
		files map[string]string
		args  []string
		check func(*Config) any
		want  any
	}{
		{
			"a key seen again replaces the earlier value, in name order",
			map[string]string{
				"config.yaml":          "cluster-domain: a\ndisable: [traefik, servicelb]",
				"config.yaml.d/2.yaml": "cluster-domain: c",
				"config.yaml.d/1.yaml": "cluster-domain: b\ndisable: [coredns]",
			},
			nil,
			func(c *Config) any { return []any{c.ClusterDomain, c.Disable} },
			[]any{"c", map[string]bool{"coredns": true}},
		},
		{
			"key+ appends to a list",
			map[string]string{
				"config.yaml":         "kubelet-arg: [a=1]",
				"config.yaml.d/1.yml": "kubelet-arg+: [b=2]",
			},
			nil,
			func(c *Config) any { return c.KubeletArgs },
			[]string{"a=1", "b=2"},
		},
		{
			"key+ appends to a scalar",
			map[string]string{
				"config.yaml":          "disable: coredns",
				"config.yaml.d/1.yaml": "disable+: traefik",
			},
			nil,
			func(c *Config) any { return c.Disable },
			map[string]bool{"coredns": true, "traefik": true},
		},
		{
			"key+ alone sets the value",
			map[string]string{"config.yaml": "tls-san+: [x]"},
			nil,
			func(c *Config) any { return c.TLSSANs },
			[]string{"x"},
		},
		{
			"a later key without + drops what was appended",
			map[string]string{
				"config.yaml":          "kubelet-arg: [a=1]",
				"config.yaml.d/1.yaml": "kubelet-arg+: [b=2]",
				"config.yaml.d/2.yaml": "kubelet-arg: [c=3]",
			},
			nil,
			func(c *Config) any { return c.KubeletArgs },
			[]string{"c=3"},
		},
		{
			"only .yaml and .yml count",
			map[string]string{
				"config.yaml":               "cluster-domain: a",
				"config.yaml.d/1.yaml.bak":  "cluster-domain: b",
				"config.yaml.d/2.txt":       "cluster-domain: c",
				"config.yaml.d/sub/x.yaml":  "cluster-domain: d",
				"config.yaml.d/0-empty.yml": "",
			},
			nil,
			func(c *Config) any { return c.ClusterDomain },
			"a",
		},
		{
			"the command line comes after the files: it replaces plain flags",
			map[string]string{"config.yaml": "cluster-domain: a"},
			[]string{"--cluster-domain", "b"},
			func(c *Config) any { return c.ClusterDomain },
			"b",
		},
		{
			"and adds to repeatable ones",
			map[string]string{"config.yaml": "kube-apiserver-arg: [x=1]\ndisable: [traefik]"},
			[]string{"--kube-apiserver-arg=y=2", "--disable=coredns,servicelb"},
			func(c *Config) any { return []any{c.APIServerArgs, c.Disable} },
			[]any{[]string{"x=1", "y=2"}, map[string]bool{"traefik": true, "coredns": true, "servicelb": true}},
		},
		{
			"bools, numbers and modes as YAML writes them",
			map[string]string{"config.yaml": "cluster-init: true\nwrite-kubeconfig-mode: 0644"},
			nil,
			func(c *Config) any { return []any{c.ClusterInit, c.KubeconfigMode} },
			[]any{true, os.FileMode(0o644)},
		},
		{
			"defaults",
			map[string]string{"config.yaml": "token: x"},
			nil,
			func(c *Config) any {
				return []any{ranges.Join(c.Ranges.Cluster), ranges.Join(c.Ranges.Service), ranges.Join(c.Ranges.DNS), c.ClusterDomain, c.DataDir, c.KubeconfigMode, c.EgressMode}
			},
			[]any{"10.42.0.0/16", "10.43.0.0/16", "10.43.0.10", "cluster.local", "/var/lib/rancher/k3s", os.FileMode(0o600), "agent"},
		},
		{
			"what is left out is added to, whichever file says so",
			map[string]string{
				"config.yaml":          "disable: [metrics-server]",
				"config.yaml.d/3.yaml": "disable+: [traefik]\ndisable-helm-controller: true",
			},
			nil,
			func(c *Config) any { return []any{c.Disable, c.DisableHelm} },
			[]any{map[string]bool{"metrics-server": true, "traefik": true}, true},
		},
		{
			"cluster DNS follows the service CIDR",
			map[string]string{"config.yaml": "service-cidr: 10.96.0.0/16"},
			nil,
			func(c *Config) any { return ranges.Join(c.Ranges.DNS) },
			"10.96.0.10",
		},
		{
			"both families, as a list and with a comma",
			map[string]string{"config.yaml": "cluster-cidr: [10.42.0.0/16, 'fd00:42::/56']\nservice-cidr: 10.43.0.0/16,fd00:43::/112"},
			[]string{"--node-ip=2001:db8::7"},
			func(c *Config) any {
				return []any{ranges.Join(c.Ranges.Cluster), ranges.Join(c.Ranges.DNS), c.NodeIPs, c.NodeIP}
			},
			[]any{"10.42.0.0/16,fd00:42::/56", "10.43.0.10,fd00:43::a", []string{"192.0.2.7", "2001:db8::7"}, "192.0.2.7"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, warnings, err := load(t, test.files, append([]string{"server"}, test.args...)...)
			if err != nil {
				t.Fatal(err)
			}
			if len(warnings) > 0 {
				t.Errorf("warnings: %q", warnings)
			}
			if got := test.check(c); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestUnknownKeyWarnsAndIsSkipped(t *testing.T) {
	c, warnings, err := load(t, map[string]string{"config.yaml": "no-such-key: 1\ncluster-domain: a"}, "server")
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "no-such-key") {
		t.Errorf("warnings: %q", warnings)
	}
	if c.ClusterDomain != "a" || strings.Contains(c.NodeArgs, "no-such-key") {
		t.Errorf("domain %q, node-args %s", c.ClusterDomain, c.NodeArgs)
	}
}

func TestServerKeyIsUnknownToAnAgent(t *testing.T) {
	_, warnings, err := load(t, map[string]string{
		"config.yaml": "server: https://192.0.2.1:6443\ntoken: x\ndisable: [coredns]",
	}, "agent")
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "disable") {
		t.Errorf("warnings: %q", warnings)
	}
}

func TestErrors(t *testing.T) {
	for name, test := range map[string]struct {
		file string
		args []string
		want string
	}{
		"unknown flag on the command line": {"token: x", []string{"server", "--no-such-flag"}, "no-such-flag"},
		"flag without its value":           {"token: x", []string{"server", "--data-dir"}, "needs an argument"},
		"not a bool":                       {"cluster-init: maybe", []string{"server"}, "cluster-init"},
		"not a map":                        {"- a", []string{"server"}, "not a map"},
		"a map as a value":                 {"token: {a: b}", []string{"server"}, "token"},
		"agent without server":             {"token: x", []string{"agent"}, "--server"},
		"agent without token":              {"server: https://a:6443", []string{"agent"}, "--token"},
		"server by plain http":             {"server: http://a:6443\ntoken: x", []string{"agent"}, "https"},
		"an IPv6 service CIDR":             {"service-cidr: fd00::/112", []string{"server"}, "IPv4"},
		"two families, and a node of one": {
			"cluster-cidr: 10.42.0.0/16,fd00:42::/56\nservice-cidr: 10.43.0.0/16,fd00:43::/112", []string{"server"}, "node-ip 192.0.2.7",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := load(t, map[string]string{"config.yaml": test.file}, test.args...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want something about %q", err, test.want)
			}
		})
	}
}

func TestServerURLLeadsToTheSupervisor(t *testing.T) {
	c, _, err := load(t, map[string]string{"config.yaml": "server: https://192.0.2.1:6443\ntoken: x"}, "agent")
	if err != nil {
		t.Fatal(err)
	}
	if c.Server != "192.0.2.1:9345" {
		t.Errorf("got %s", c.Server)
	}
}

// Values of files come before those of the command line; secrets are masked.
func TestNodeArgs(t *testing.T) {
	c, _, err := load(t, map[string]string{
		"config.yaml": "token: very-secret\ndisable: [coredns, traefik]\ncluster-init: true",
	}, "server", "-t", "hidden", "--token=gone", "--debug")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := json.Unmarshal([]byte(c.NodeArgs), &got); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"server", "--token", "********", "--disable", "coredns", "--disable", "traefik", "--cluster-init", "true",
		"--node-ip", "192.0.2.7", "--node-name", "n", "-t", "********", "--token", "********", "--debug",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestNodeEnv(t *testing.T) {
	got := NodeEnv([]string{"K3S_TOKEN=secret", "K3S_URL=https://a:6443", "PATH=/bin"})
	if want := `{"K3S_TOKEN":"********","K3S_URL":"https://a:6443"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
