// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	upHA        = 120 * time.Second // a promise
	silence     = 15 * time.Second  // a promise: no longer one of the API through a server that lives
	leaderQuery = `import urllib.request as u; print("etcd_server_is_leader 1" in u.urlopen("http://127.0.0.1:2381/metrics").read().decode())`
)

var servers = []string{"server-1", "server-2", "server-3"}

// TestHA: three servers and an agent; the server that leads etcd dies, whichever it is.
func TestHA(t *testing.T) {
	s := sandbox{t, "e2e-ha"}
	s.run(soon, "down")
	t.Cleanup(func() { s.run(soon, "down") })
	up := s.run(5*time.Minute, "up", "ha", "--timeout", "280")
	t.Logf("up ha: %.1f s", up.took.Seconds())
	if up.took > upHA {
		t.Errorf("up ha took %v", up.took)
	}
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"nodes", s.haNodes},
		{"own kubeconfigs", s.haKubeconfigs},
		{"leases", s.haLeases},
		{"the etcd leader dies", s.haLeaderDies},
		{"restarts without the first server", s.haRestartsWithoutFirst},
		{"the first server comes back", s.haFirstComesBack},
		{"a server without a lease dies", s.haOtherDies},
	} {
		if !t.Run(test.name, test.run) {
			break // what comes after stands on it
		}
	}
}

type nodeObject struct {
	Metadata struct {
		Name                string
		Labels, Annotations map[string]string
	}
	Status struct {
		Conditions []struct{ Type, Status, Reason, LastTransitionTime string }
	}
}

func (s sandbox) node(name string) (n nodeObject) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.kubectl("get", "node", name, "-o", "json")), &n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// condition is a condition's status and when it last changed.
func (n nodeObject) condition(kind string) (status, since string) {
	for _, c := range n.Status.Conditions {
		if c.Type == kind {
			return c.Status, c.LastTransitionTime
		}
	}
	return "", ""
}

func (s sandbox) haNodes(t *testing.T) {
	s.t = t
	for _, name := range append([]string{"agent-1"}, servers...) {
		server := name != "agent-1"
		eventually(t, time.Minute, name+" has its labels and its vote", func() bool {
			n := s.node(name)
			_, control := n.Metadata.Labels["node-role.kubernetes.io/control-plane"]
			_, member := n.Metadata.Labels["node-role.kubernetes.io/etcd"]
			voter, _ := n.condition("EtcdIsVoter")
			return control == server && member == server && (voter == "True") == server
		})
		var args []string
		if err := json.Unmarshal([]byte(s.node(name).Metadata.Annotations["k3s.io/node-args"]), &args); err != nil {
			t.Fatal(err)
		}
		if first := slices.Contains(args, "--cluster-init"); first != (name == "server-1") {
			t.Errorf("node-args of %s: %q", name, args)
		}
	}
	eventually(t, soon, "all nodes are in NodeHosts", func() bool { return len(strings.Split(s.nodeHosts(), "\n")) == 4 })
}

func (s sandbox) nodeHosts() string {
	s.t.Helper()
	return s.kubectl("-n", "kube-system", "get", "configmap", "coredns", "-o", "jsonpath={.data.NodeHosts}")
}

func (s sandbox) haKubeconfigs(t *testing.T) {
	s.t = t
	for _, name := range servers {
		if r := s.run(soon, "exec", name, "sh", "-c", "grep -c https://127.0.0.1:6443 /etc/rancher/k3s/k3s.yaml && k3s kubectl get --raw /readyz"); r.stdout != "1\nok" {
			t.Errorf("%s: %q", name, r.stdout)
		}
	}
}

func (s sandbox) holder(lease string) string {
	s.t.Helper()
	holder, _, _ := strings.Cut(s.kubectl("-n", "kube-system", "get", "lease", lease, "-o", "jsonpath={.spec.holderIdentity}"), "_")
	return holder
}

func (s sandbox) haLeases(t *testing.T) {
	s.t = t
	for _, lease := range []string{"k3s", "kube-controller-manager", "kube-scheduler"} {
		if h := s.holder(lease); !slices.Contains(servers, h) {
			t.Errorf("lease %s is held by %q", lease, h)
		}
	}
}

// etcdLeader asks the servers given.
func (s sandbox) etcdLeader(among []string) string {
	s.t.Helper()
	for _, name := range among {
		if r := s.try(soon, "", "exec", name, "python3", "-c", leaderQuery); strings.TrimSpace(r.stdout) == "True" {
			return name
		}
	}
	return ""
}

func others(name string) []string {
	return slices.DeleteFunc(slices.Clone(servers), func(s string) bool { return s == name })
}

// survive kills a server and watches the API through each of the others. Nodes
// that live must not be taken for dead.
func (s sandbox) survive(victim string, least, most time.Duration) {
	t := s.t
	t.Helper()
	living := append([]string{"agent-1"}, others(victim)...)
	since := map[string]string{}
	for _, name := range living {
		_, since[name] = s.node(name).condition("Ready")
	}
	var watches []*apiWatch
	for _, name := range others(victim) {
		watches = append(watches, s.watchAPI(name))
	}
	began := time.Now()
	s.run(soon, "kill", victim)
	eventually(t, 100*time.Second, victim+" is NotReady", func() bool { return !s.ready(victim) })
	took := time.Since(began)
	for _, w := range watches {
		read, write := w.stop()
		t.Logf("%s killed: API through %s silent for at most %.1f s (reads), %.1f s (writes)", victim, w.server, read.Seconds(), write.Seconds())
		if read > silence || write > silence {
			t.Errorf("the API through %s gave no answer for %v to reads, %v to writes", w.server, read, write)
		}
	}
	t.Logf("%s killed: NotReady after %.1f s", victim, took.Seconds())
	if took < least || took > most {
		t.Errorf("NotReady after %v, not within %v to %v", took, least, most)
	}
	for _, name := range living {
		if status, at := s.node(name).condition("Ready"); status != "True" || at != since[name] {
			t.Errorf("%s is Ready=%s since %s, was since %s", name, status, at, since[name])
		}
	}
}

// plainGrace is how soon a node is taken for dead: 50 s after its last heartbeat, which comes each 10 s.
func plainGrace() (least, most time.Duration) { return 38 * time.Second, 60 * time.Second }

func (s sandbox) haLeaderDies(t *testing.T) {
	s.t = t
	leader := s.etcdLeader(servers)
	t.Logf("etcd led by %s, controller manager by %s", leader, s.holder("kube-controller-manager"))
	if leader == "" {
		t.Fatal("no server says that it leads etcd")
	}
	// The new holder of the lease starts the grace period afresh.
	least, most := 50*time.Second, 90*time.Second
	if s.holder("kube-controller-manager") != leader {
		least, most = plainGrace()
	}
	s.survive(leader, least, most)
	if next := s.etcdLeader(others(leader)); next == "" {
		t.Error("no leader of etcd among the others")
	}
	for _, lease := range []string{"k3s", "kube-controller-manager", "kube-scheduler"} {
		eventually(t, time.Minute, "lease "+lease+" has another holder", func() bool { return s.holder(lease) != leader })
	}
	// Who holds the lease of k3s keeps NodeHosts.
	s.kubectl("-n", "kube-system", "patch", "configmap", "coredns", "--type=merge", "-p", `{"data":{"NodeHosts":""}}`)
	s.kubectl("annotate", "node", "agent-1", "e2e/touched=yes")
	eventually(t, time.Minute, "the new holder writes NodeHosts", func() bool { return s.nodeHosts() == "198.18.0.21 agent-1" })
	manager := "k3s-supervisor@" + s.holder("k3s")
	if fields := s.kubectl("-n", "kube-system", "get", "configmap", "coredns", "--show-managed-fields", "-o", "jsonpath={.metadata.managedFields[*].manager}"); !strings.Contains(fields, manager) {
		t.Errorf("managers of the ConfigMap: %s, not %s", fields, manager)
	}
	if leader != "server-1" {
		s.comesBack(leader) // what follows needs the first server dead and the other two
	}
}

// comesBack restores a server and waits until all nodes are Ready and its own API answers, so its etcd has a leader.
func (s sandbox) comesBack(server string) {
	s.t.Helper()
	s.run(time.Minute, "restore", server)
	for _, name := range append([]string{"agent-1"}, servers...) {
		eventually(s.t, 2*time.Minute, name+" is Ready", func() bool { return s.ready(name) })
	}
	s.ownAPI(server)
}

func (s sandbox) ownAPI(server string) {
	s.t.Helper()
	eventually(s.t, time.Minute, "the API of "+server, func() bool {
		return s.try(soon, "", "exec", server, "k3s", "kubectl", "get", "--raw", "/readyz").status == 0
	})
}

// server-1, through which all others joined, is off.
func (s sandbox) haRestartsWithoutFirst(t *testing.T) {
	s.t = t
	if s.try(soon, "", "exec", "server-1", "true").status == 0 {
		s.run(soon, "kill", "server-1")
		eventually(t, time.Minute, "a leader of etcd among the others", func() bool {
			return s.etcdLeader(others("server-1")) != ""
		})
	}
	s.run(2*time.Minute, "exec", "server-3", "systemctl", "restart", "k3s")
	s.ownAPI("server-3")
	s.run(2*time.Minute, "exec", "agent-1", "systemctl", "restart", "k3s-agent")
	s.run(soon, "kubectl", "create", "deployment", "after", "--image=rancher/mirrored-library-busybox:1.37.0", "--", "sleep", "1000000")
	s.run(3*time.Minute, "kubectl", "rollout", "status", "deployment/after", "--timeout=170s")
	eventually(t, time.Minute, "agent-1 is Ready", func() bool { return s.ready("agent-1") })
}

func (s sandbox) haFirstComesBack(t *testing.T) {
	s.t = t
	s.comesBack("server-1")
}

func (s sandbox) haOtherDies(t *testing.T) {
	s.t = t
	leader, holder := s.etcdLeader(servers), s.holder("kube-controller-manager")
	for _, victim := range servers {
		if victim != leader && victim != holder {
			least, most := plainGrace()
			s.survive(victim, least, most)
			s.run(time.Minute, "restore", victim)
			eventually(t, 2*time.Minute, victim+" is Ready", func() bool { return s.ready(victim) })
			return
		}
	}
	t.Fatal("three servers, and each leads one of two things")
}
