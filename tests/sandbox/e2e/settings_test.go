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
	half := s.try(soon, "", "up", "small", "--server-arg", "service-cidr=10.50.0.0/16,fd00:50::/112")
	if half.status != 2 || !strings.Contains(half.stderr, "not of the same families") {
		t.Errorf("half of dual stack: status %d, %s", half.status, half.stderr)
	}
	mustLeaveNothing(t, s.name)
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
	forwarding := s.run(soon, "exec", "agent-1", "cat", "/proc/sys/net/ipv6/conf/all/forwarding").stdout
	if addresses := s.run(soon, "exec", "agent-1", "ip", "-6", "address", "show", "scope", "global").stdout; forwarding != "0\n" || addresses != "" {
		t.Errorf("IPv6 of a node that has IPv4 alone: %s%s", forwarding, addresses)
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

// clients runs a pod on every node that asks for nothing, and answers with its node's name.
const clients = `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: client}
spec:
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: client
        image: ` + busybox + `
        env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
        command: [sh, -c, 'mkdir /www && echo $NODE >/www/index.html && exec httpd -f -p 80 -h /www']
---
apiVersion: v1
kind: Service
metadata: {name: dual}
spec:
  ipFamilyPolicy: RequireDualStack
  selector: {app: client}
  ports: [{port: 80}]
`

// TestDualStack: nodes, pods and Services of both families.
func TestDualStack(t *testing.T) {
	s := sandbox{t, "e2e-dual"}
	s.run(soon, "down")
	t.Cleanup(func() { s.run(soon, "down") })
	s.run(3*time.Minute, "up", "small", "--server-arg", "cluster-cidr=10.42.0.0/16,fd00:42::/56",
		"--server-arg", "service-cidr=10.43.0.0/16,fd00:43::/112", "--server-arg", "cluster-dns=10.43.0.10,fd00:43::a")

	for node, want := range map[string]string{"server-1": "198.18.0.11 2001:2::11", "agent-2": "198.18.0.22 2001:2::22"} {
		if got := s.kubectl("get", "node", node, "-o", `jsonpath={.status.addresses[?(@.type=="InternalIP")].address}`); got != want {
			t.Errorf("%s has the addresses %s", node, got)
		}
	}
	dns := "jsonpath={.spec.ipFamilyPolicy} {.spec.clusterIPs[0]} {.spec.clusterIPs[1]}"
	if got := s.kubectl("-n", "kube-system", "get", "service", "kube-dns", "-o", dns); got != "RequireDualStack 10.43.0.10 fd00:43::a" {
		t.Errorf("kube-dns: %s", got)
	}

	if r := s.try(soon, clients, "kubectl", "apply", "-f", "-"); r.status != 0 {
		t.Fatal(r.stderr)
	}
	s.run(2*time.Minute, "kubectl", "rollout", "status", "daemonset/client", "--timeout=110s")
	list := s.kubectl("get", "pods", "-l", "app=client", "-o",
		`jsonpath={range .items[*]}{.spec.nodeName} {.metadata.name} {.status.podIPs[*].ip}{"\n"}{end}`)
	type pod struct{ name, ipv4, ipv6 string }
	pods := map[string]pod{}
	for line := range strings.Lines(list) {
		f := strings.Fields(line)
		if len(f) != 4 {
			t.Fatalf("a pod has not both families: %s", line)
		}
		pods[f[0]] = pod{f[1], f[2], f[3]}
	}
	if len(pods) != 3 {
		t.Fatalf("pods: %s", list)
	}

	// Each to each, by both families, its own node's bridge included.
	fetch := func(from pod, host string) string {
		// Not wget's own -T: with it Debian's busybox ends by a signal.
		wget := []string{"kubectl", "exec", from.name, "--", "timeout", "5", "wget", "-q", "-O", "-", "http://" + host + "/"}
		return strings.TrimSpace(s.try(soon, "", wget...).stdout)
	}
	for from, a := range pods {
		for to, b := range pods {
			for _, host := range []string{b.ipv4, "[" + b.ipv6 + "]"} {
				if got := fetch(a, host); got != to {
					t.Errorf("from %s to %s by %s: %q", from, to, host, got)
				}
			}
		}
	}
	addresses := strings.Fields(s.kubectl("get", "service", "dual", "-o", "jsonpath={.spec.clusterIPs[0]} {.spec.clusterIPs[1]}"))
	if len(addresses) != 2 || !strings.HasPrefix(addresses[0], "10.43.") || !strings.HasPrefix(addresses[1], "fd00:43::") {
		t.Fatalf("the Service's addresses: %v", addresses)
	}
	for from, a := range pods {
		for _, host := range []string{addresses[0], "[" + addresses[1] + "]"} {
			if _, known := pods[fetch(a, host)]; !known {
				t.Errorf("from %s to the Service by %s", from, host)
			}
		}
		conf := s.kubectl("exec", a.name, "--", "cat", "/etc/resolv.conf")
		if !strings.Contains(conf, "nameserver 10.43.0.10\nnameserver fd00:43::a\n") {
			t.Errorf("resolv.conf on %s: %s", from, conf)
		}
		// Names by either address of the cluster's DNS, and addresses of either family.
		for _, server := range []string{"10.43.0.10", "fd00:43::a"} {
			for kind, want := range map[string]string{"a": addresses[0], "aaaa": addresses[1]} {
				lookup := []string{"nslookup", "-type=" + kind, "dual.default.svc.cluster.local", server}
				answer := s.try(soon, "", append([]string{"kubectl", "exec", a.name, "--"}, lookup...)...).stdout
				if !strings.Contains(answer, "Address: "+want+"\n") {
					t.Errorf("from %s, %s of %s: %s", from, kind, server, answer)
				}
			}
		}
	}
	want := "198.18.0.21 agent-1\n2001:2::21 agent-1\n198.18.0.22 agent-2\n2001:2::22 agent-2\n198.18.0.11 server-1\n2001:2::11 server-1"
	eventually(t, soon, "NodeHosts has both addresses of each node", func() bool { return s.nodeHosts() == want })

	// A machine that was off forgets its routes, and a cable that was out may have cost some.
	s.run(soon, "kill", "agent-1")
	s.run(soon, "restore", "agent-1")
	s.run(soon, "partition", "agent-2")
	s.run(soon, "restore", "agent-2")
	for _, from := range []string{"server-1", "agent-2"} {
		eventually(t, 2*time.Minute, from+" reaches the pod on agent-1 again by IPv6", func() bool {
			list := s.try(soon, "", "kubectl", "get", "pods", "-l", "app=client", "--field-selector=spec.nodeName=agent-1",
				"-o", "jsonpath={.items[0].status.podIPs[1].ip}")
			return list.status == 0 && fetch(pods[from], "["+list.stdout+"]") == "agent-1"
		})
	}
	forwarding := s.run(soon, "exec", "agent-2", "cat", "/proc/sys/net/ipv6/conf/all/forwarding")
	if strings.TrimSpace(forwarding.stdout) != "1" {
		t.Errorf("IPv6 forwarding: %s", forwarding.stdout)
	}
}
