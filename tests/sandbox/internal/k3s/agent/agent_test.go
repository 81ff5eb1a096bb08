// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k3s-ha.core/sandbox/internal/k3s/config"
	"k3s-ha.core/sandbox/internal/k3s/join"
)

func testAgent(t *testing.T) *Agent {
	t.Helper()
	return &Agent{
		c:     &config.Config{DataDir: t.TempDir(), Components: "/opt/k3s/bin", NodeName: "n"},
		reply: &join.Reply{Settings: join.Settings{ClusterDNS: "10.43.0.10", ClusterDomain: "cluster.local"}},
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestOOMScoreIsRestrictedWithoutSysResource(t *testing.T) {
	for caps, want := range map[string]bool{"000001ffffffffff": false, "000001fffeffffff": true} {
		limited, err := lacksSysResource(write(t, "Name:\tk3s\nCapEff:\t"+caps+"\n"))
		if err != nil || limited != want {
			t.Errorf("%s: %t, %v", caps, limited, err)
		}
		line := "restrict_oom_score_adj = false"
		if want {
			line = "restrict_oom_score_adj = true"
		}
		if text := string(testAgent(t).containerdConfig(limited)); !strings.Contains(text, line) {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
	if _, err := lacksSysResource(write(t, "Name:\tk3s\n")); err == nil {
		t.Error("no CapEff, and no error")
	}
}

func TestPauseImageIsPinned(t *testing.T) {
	a := testAgent(t)
	if text := string(a.containerdConfig(false)); !strings.Contains(text, `sandbox = "docker.io/rancher/mirrored-pause:3.6"`) {
		t.Error(text)
	}
	a.c.PauseImage = "example.org/pause:1"
	if text := string(a.containerdConfig(false)); !strings.Contains(text, `sandbox = "example.org/pause:1"`) {
		t.Error(text)
	}
}

// A name server on loopback is none for a pod.
func TestResolvConf(t *testing.T) {
	for text, kept := range map[string]bool{
		"nameserver 192.0.2.1\n":                        true,
		"nameserver 127.0.0.53\nnameserver 192.0.2.1\n": true,
		"nameserver 127.0.0.53\n":                       false,
		"search example.org\n":                          false,
	} {
		file := write(t, text)
		got, err := testAgent(t).resolvConf(file)
		if err != nil || (got == file) != kept {
			t.Errorf("%q: %s, %v", text, got, err)
		}
	}
}

func TestConflist(t *testing.T) {
	var parsed struct {
		Plugins []struct {
			Type, Bridge string
			IPAM         struct {
				Ranges [][]struct{ Subnet string }
				Routes []struct{ Dst string }
			}
		}
	}
	text, err := conflist([]string{"10.42.1.0/24", "fd00:42:0:1::/64"})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &parsed); err != nil {
		t.Fatal(err)
	}
	if len(parsed.Plugins) != 2 || parsed.Plugins[0].Bridge != "cni0" || parsed.Plugins[1].Type != "portmap" {
		t.Errorf("%+v", parsed)
	}
	ipam := parsed.Plugins[0].IPAM
	if len(ipam.Ranges) != 2 || ipam.Ranges[1][0].Subnet != "fd00:42:0:1::/64" || len(ipam.Routes) != 2 || ipam.Routes[1].Dst != "::/0" {
		t.Errorf("%+v", ipam)
	}
}

func TestKnownServersSurviveARestart(t *testing.T) {
	a := testAgent(t)
	if got, err := a.savedSupervisors(); err != nil || got != nil {
		t.Errorf("at first: %v, %v", got, err)
	}
	if err := a.saveServers([]string{"192.0.2.11:6443", "192.0.2.12:6443"}); err != nil {
		t.Fatal(err)
	}
	got, err := a.savedSupervisors()
	if err != nil || !slices.Equal(got, []string{"192.0.2.11:9345", "192.0.2.12:9345"}) {
		t.Errorf("later: %v, %v", got, err)
	}
}
