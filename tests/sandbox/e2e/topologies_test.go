// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

func TestZones(t *testing.T) {
	s := sandbox{t, "e2e-zones"}
	s.run(soon, "down")
	t.Cleanup(func() { s.run(soon, "down") })
	up := s.run(6*time.Minute, "up", "zones", "--timeout", "340")
	t.Logf("up zones: %.1f s", up.took.Seconds())
	got := s.kubectl("get", "nodes", "-o", `jsonpath={range .items[*]}{.metadata.name}={.metadata.labels.topology\.kubernetes\.io/zone} {end}`)
	if want := "agent-1=zone-a agent-2=zone-b agent-3=zone-c server-1=zone-a server-2=zone-b server-3=zone-c"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFleet(t *testing.T) {
	s := sandbox{t, "e2e-fleet"}
	s.run(soon, "down")
	t.Cleanup(func() { s.run(soon, "down") })
	up := s.run(5*time.Minute, "up", "fleet:300")
	t.Logf("up fleet:300: %.1f s", up.took.Seconds())
	if n := len(strings.Fields(s.kubectl("get", "nodes", "-o", "name"))); n != 301 {
		t.Errorf("%d nodes", n)
	}
	if r := s.run(soon, "status"); !strings.Contains(r.stdout, "300 of 300 Ready") {
		t.Errorf("status: %s", r.stdout)
	}
	s.kubectl("create", "deployment", "wide", "--image=rancher/mirrored-pause:3.6", "--replicas=50")
	s.run(2*time.Minute, "kubectl", "rollout", "status", "deployment/wide", "--timeout=110s")
	s.kubectl("delete", "deployment", "wide")
	eventually(t, time.Minute, "pods on the fleet end", func() bool { return s.kubectl("get", "pods", "-o", "name") == "" })
	s.run(soon, "down")
	mustLeaveNothing(t, s.name)
}
