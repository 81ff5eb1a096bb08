// SPDX-License-Identifier: GPL-3.0-or-later

package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k3s-ha.core/sandbox/internal/state"
)

func TestIsInit(t *testing.T) {
	for status, want := range map[string]bool{
		"Name:\tsystemd\nState:\tS (sleeping)\nNSpid:\t41\t1\n": true,
		"Name:\tsystemd\nState:\tZ (zombie)\nNSpid:\t41\t1\n":   false,
		"Name:\tsh\nState:\tS (sleeping)\nNSpid:\t41\n":         false,
	} {
		if isInit(status) != want {
			t.Errorf("%q", status)
		}
	}
}

// A number that another process has by now is not taken for the node.
func TestLauncherKnowsItsOwnNumber(t *testing.T) {
	c := &state.Cluster{Dir: t.TempDir()}
	var n state.Node
	n.Name = "server-1"
	if err := os.Mkdir(c.NodeDir(n), 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(c.NodeDir(n), pidFile)
	if err := writePid(path); err != nil {
		t.Fatal(err)
	}
	if pid, err := launcher(c, n); pid != os.Getpid() || err != nil {
		t.Errorf("this process: %d %v", pid, err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.TrimSpace(string(text))+"9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if pid, err := launcher(c, n); pid != 0 || err != nil {
		t.Errorf("another start time: %d %v", pid, err)
	}
}

func TestPrepare(t *testing.T) {
	t.Setenv("SANDBOX_DIR", t.TempDir())
	c, err := state.New("unit", "small")
	if err != nil {
		t.Fatal(err)
	}
	c.Token, c.Bundle = "secret", t.TempDir()
	for _, n := range c.Nodes {
		if err := Prepare(c, n, Machine{CgroupVersion: 1}, Keys{}); err != nil {
			t.Fatal(err)
		}
	}
	read := func(i int, path string) string {
		text, err := ReadFile(c, c.Nodes[i], path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if got, want := read(1, "etc/rancher/k3s/config.yaml"), "node-ip: 198.18.0.21\nserver: https://198.18.0.11:6443\ntoken: secret\n"; got != want {
		t.Errorf("agent's config.yaml: %q", got)
	}
	if got := read(0, "etc/rancher/k3s/config.yaml.d/10-sandbox.yaml"); !strings.Contains(got, "audit-policy-file=") || !strings.Contains(got, "fail-cgroupv1=false") || !strings.Contains(got, "image-gc-high-threshold=100") {
		t.Errorf("server's machine settings: %q", got)
	}
	if got := read(1, "etc/rancher/k3s/config.yaml.d/10-sandbox.yaml"); strings.Contains(got, "audit") {
		t.Errorf("agent's machine settings: %q", got)
	}
	const packaged = "etc/rancher/k3s/config.yaml.d/30-packaged.yaml"
	if got, want := read(0, packaged), "disable+:\n- traefik\ndisable-helm-controller: true\n"; got != want {
		t.Errorf("without traefik: %q", got)
	}
	if got := read(0, "etc/systemd/system/k3s.service"); !strings.Contains(got, "ExecStart=/usr/local/bin/k3s server\n") || !strings.Contains(got, "KillMode=process\n") {
		t.Errorf("k3s.service: %q", got)
	}
	wants := filepath.Join(c.NodeDir(c.Nodes[2]), upperDir, "etc/systemd/system/multi-user.target.wants/k3s-agent.service")
	if target, err := os.Readlink(wants); err != nil || target != "/etc/systemd/system/k3s-agent.service" {
		t.Errorf("the agent does not start at boot: %q %v", target, err)
	}
	if got := read(2, "etc/systemd/system/k3s-agent.service"); !strings.Contains(got, "k3s agent\n") {
		t.Errorf("k3s-agent.service: %q", got)
	}
	if got := read(2, "etc/hosts"); !strings.Contains(got, "198.18.0.11 server-1\n198.18.0.21 agent-1\n198.18.0.22 agent-2\n") {
		t.Errorf("hosts: %q", got)
	}
}

func TestNodeOfBothFamilies(t *testing.T) {
	t.Setenv("SANDBOX_DIR", t.TempDir())
	c, err := state.New("unit", "small")
	if err != nil {
		t.Fatal(err)
	}
	c.Nodes[1].IPv6 = "2001:2::21"
	if got := config(c, c.Nodes[1])["node-ip"]; got != "198.18.0.21,2001:2::21" {
		t.Errorf("node-ip: %v", got)
	}
}
