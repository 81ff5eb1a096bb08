// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestUpgrade brings a release with another manifest to a running server: what is durable stays, what is contested is
// set back, containers of others live on.
func TestUpgrade(t *testing.T) {
	s := sandbox{t, "e2e-upgrade"}
	s.run(soon, "down")
	t.Cleanup(func() { s.run(soon, "down") })
	s.run(3*time.Minute, "up", "single")
	apply := func(spec string, force string) {
		t.Helper()
		object := `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"coredns","namespace":"kube-system"},"spec":` + spec + `}`
		if r := s.try(soon, object, "kubectl", "apply", "--server-side", "--field-manager=someone", force, "-f", "-"); r.status != 0 {
			t.Fatal(r.stderr)
		}
	}
	apply(`{"minReadySeconds":3,"strategy":{"rollingUpdate":{"maxUnavailable":2}}}`, "--force-conflicts")

	manifests := t.TempDir()
	text := s.on("cat", "/var/lib/rancher/k3s/server/manifests/coredns.yaml")
	changed := strings.Replace(strings.Replace(text, "memory: 170Mi", "memory: 171Mi", 1), "kubernetes.io/name: CoreDNS", "kubernetes.io/name: CoreDNS\n    next: release", 1)
	if err := os.WriteFile(filepath.Join(manifests, "coredns.yaml"), []byte(changed+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	up := s.run(2*time.Minute, "upgrade", "--manifests", manifests)
	t.Logf("upgrade: %.1f s", up.took.Seconds())
	get := func(path string) string {
		return s.kubectl("-n", "kube-system", "get", "deployment", "coredns", "-o", "jsonpath="+path)
	}
	eventually(t, time.Minute, "the changed manifest is applied", func() bool { return get("{.metadata.labels.next}") == "release" })
	const fields = "{.spec.template.spec.containers[0].resources.limits.memory} {.spec.minReadySeconds} {.spec.strategy.rollingUpdate.maxUnavailable}"
	if got := get(fields); got != "171Mi 3 1" {
		t.Errorf("got %s", got)
	}
	s.run(2*time.Minute, "kubectl", "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=110s")
	if r := s.try(soon, "", "upgrade", "--version", "1.2"); r.status != 2 {
		t.Errorf("a minor that is not known: status %d, %s", r.status, r.stderr)
	}
}
