// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

const busybox = "rancher/mirrored-library-busybox:1.37.0"

// TestSettings: another service network, DNS address and domain; a server that takes no ordinary pods.
func TestSettings(t *testing.T) {
	s := sandbox{t, "e2e-settings"}
	s.run(soon, "down")
	t.Cleanup(func() { s.run(soon, "down") })
	s.run(3*time.Minute, "up", "small", "--server-arg", "service-cidr=10.50.0.0/16", "--server-arg", "cluster-dns=10.50.0.53",
		"--server-arg", "cluster-domain=lab.internal", "--server-arg", "node-taint=node-role.kubernetes.io/control-plane:NoSchedule")
	if ip := s.kubectl("-n", "kube-system", "get", "service", "kube-dns", "-o", "jsonpath={.spec.clusterIP}"); ip != "10.50.0.53" {
		t.Errorf("kube-dns has %s", ip)
	}
	s.run(soon, "kubectl", "create", "deployment", "client", "--image="+busybox, "--replicas=4", "--", "sleep", "1000000")
	s.run(2*time.Minute, "kubectl", "rollout", "status", "deployment/client", "--timeout=110s")
	if on := s.kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}"); strings.Contains(on, "server-1") {
		t.Errorf("pods without a toleration are on %s", on)
	}
	if conf := s.kubectl("exec", "deployment/client", "--", "cat", "/etc/resolv.conf"); !strings.Contains(conf, "nameserver 10.50.0.53") ||
		!strings.Contains(conf, "search default.svc.lab.internal svc.lab.internal lab.internal") {
		t.Errorf("resolv.conf of a pod: %s", conf)
	}
	if answer := s.kubectl("exec", "deployment/client", "--", "nslookup", "kubernetes.default.svc.lab.internal"); !strings.Contains(answer, "10.50.0.1") {
		t.Errorf("nslookup: %s", answer)
	}
}

// TestServerWithoutAgent: its server is no node.
func TestServerWithoutAgent(t *testing.T) {
	s := sandbox{t, "e2e-agentless"}
	s.run(soon, "down")
	t.Cleanup(func() { s.run(soon, "down") })
	s.run(3*time.Minute, "up", "small", "--server-arg", "disable-agent=true")
	if nodes := s.kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}"); nodes != "agent-1 agent-2" {
		t.Errorf("nodes: %s", nodes)
	}
	if status := s.run(soon, "status"); !strings.Contains(status.stdout, "no agent") {
		t.Errorf("status: %s", status.stdout)
	}
}
