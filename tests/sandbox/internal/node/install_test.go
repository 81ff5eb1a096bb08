// SPDX-License-Identifier: GPL-3.0-or-later

package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k3s-ha.core/sandbox/internal/state"
)

func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestInstall(t *testing.T) {
	c := &state.Cluster{Dir: t.TempDir()}
	var n state.Node
	n.Name = "server-1"
	old := tree(t, map[string]string{"bin/kube": "1.35", "bin/gone": "1.35", "images/coredns.tar": "old"})
	later := tree(t, map[string]string{
		"bin/kube": "1.36", "bin/added": "1.36", "images/coredns.tar": "new", "helm-images/traefik.tar": "new",
	})
	manifests := tree(t, map[string]string{"coredns.yaml": "changed"})
	for _, step := range []struct{ bundle, manifests, want string }{
		{old, "", "gone kube"},
		{old, "", "gone kube"},
		{later, manifests, "added kube manifests manifests/coredns.yaml"},
		{later, "", "added kube"},
	} {
		if err := Install(c, n, step.bundle, step.manifests); err != nil {
			t.Fatal(err)
		}
		bin := filepath.Join(c.NodeDir(n), binDir)
		var found []string
		for _, pattern := range []string{"*", "*/*"} {
			paths, err := filepath.Glob(filepath.Join(bin, pattern))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range paths {
				found = append(found, strings.TrimPrefix(p, bin+"/"))
			}
		}
		if got := strings.Join(found, " "); got != step.want {
			t.Errorf("got %s, want %s", got, step.want)
		}
	}
	image, err := os.ReadFile(filepath.Join(c.NodeDir(n), rancherDir, "k3s/agent/images/coredns.tar"))
	if err != nil || string(image) != "new" {
		t.Errorf("image %q, %v", image, err)
	}
	traefik := filepath.Join(c.NodeDir(n), rancherDir, "k3s/agent/images/traefik.tar")
	if _, err := os.Stat(traefik); !os.IsNotExist(err) {
		t.Errorf("an image for traefik where it is not wanted: %v", err)
	}
	c.Traefik = true
	if err := Install(c, n, later, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(traefik); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(filepath.Join(old, "bin/kube")); err != nil || string(text) != "1.35" {
		t.Errorf("the bundle was written to: %q, %v", text, err)
	}
}
