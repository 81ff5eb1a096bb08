// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"k3s-ha.core/sandbox/internal/cgroup"
)

const soon = 20 * time.Second

func TestSmall(t *testing.T) {
	s := sandbox{t, "e2e"}
	s.run(soon, "down")
	t.Cleanup(func() { s.run(soon, "down") })

	up := s.run(3*time.Minute, "up", "small")
	t.Logf("up small: %.1f s", up.took.Seconds())
	if up.took > time.Minute {
		t.Errorf("up small took %v", up.took)
	}
	if again := s.run(soon, "up", "small"); !strings.Contains(again.stderr, "is up already") || again.took > 3*time.Second {
		t.Errorf("second up: %v, %s", again.took, again.stderr)
	}
	if other := s.try(soon, "", "up", "single"); other.status != 2 {
		t.Errorf("up of another topology: status %d, %s", other.status, other.stderr)
	}
	for name, test := range map[string]func(*testing.T){
		"exec": s.exec, "inventory": s.inventory, "logs": s.logs, "audit": s.audit,
	} {
		t.Run(name, test)
	}
	t.Run("kill", s.kill)
	t.Run("hang", s.hang)
	t.Run("partition", s.partition)

	down := s.run(soon, "down")
	t.Logf("down: %.1f s", down.took.Seconds())
	if down.took > 10*time.Second {
		t.Errorf("down took %v", down.took)
	}
	mustLeaveNothing(t, s.name)
	s.run(soon, "down")
	mustLeaveNothing(t, s.name)
	if gone := s.try(soon, "", "status"); gone.status != 4 {
		t.Errorf("status after down: %d, %s", gone.status, gone.stderr)
	}
}

func (s sandbox) exec(t *testing.T) {
	s.t = t
	if r := s.try(soon, "through\n", "exec", "agent-1", "sh", "-c", "hostname; cat; exit 7"); r.status != 7 || r.stdout != "agent-1\nthrough\n" {
		t.Errorf("exec: status %d, %q, %s", r.status, r.stdout, r.stderr)
	}
	if r := s.try(soon, "", "exec", "agent-1", "sh", "-c", "kill -9 $$"); r.status != 137 {
		t.Errorf("a command that is killed: status %d", r.status)
	}
	if r := s.try(soon, "", "exec", "agent-1", "no-such-program"); r.status == 0 || !strings.Contains(r.stderr, "no-such-program") {
		t.Errorf("a command that is not there: status %d, %s", r.status, r.stderr)
	}
	if r := s.try(2*time.Second, "", "exec", "agent-1", "sleep", "4711"); r.status != -1 {
		t.Errorf("a long command: status %d", r.status)
	}
	eventually(t, soon, "a command that nobody waits for is gone", func() bool {
		return s.try(soon, "", "exec", "agent-1", "pgrep", "-f", "^sleep 4711").status == 1
	})
	if r := s.try(soon, "", "exec", "agent-9", "true"); r.status != 4 {
		t.Errorf("a node that is not there: status %d, %s", r.status, r.stderr)
	}
	if r := s.run(soon, "exec", "server-1", "getent", "hosts", "agent-2"); !strings.HasPrefix(r.stdout, "198.18.0.22 ") {
		t.Errorf("/etc/hosts: %q", r.stdout)
	}
	if r := s.try(soon, "", "kubectl", "get", "nodes", "no-such-node"); r.status != 1 {
		t.Errorf("kubectl's status: %d", r.status)
	}
}

// inventory is read as Ansible reads it, and its ssh settings are used.
func (s sandbox) inventory(t *testing.T) {
	s.t = t
	var inventory struct {
		Cluster struct {
			Children map[string]struct {
				Hosts map[string]struct {
					Host string `json:"ansible_host"`
				} `json:"hosts"`
			} `json:"children"`
			Vars map[string]string `json:"vars"`
		} `json:"k3s_cluster"`
	}
	if err := yaml.UnmarshalStrict([]byte(s.run(soon, "inventory").stdout), &inventory); err != nil {
		t.Fatal(err)
	}
	servers, agents := inventory.Cluster.Children["server"].Hosts, inventory.Cluster.Children["agent"].Hosts
	if len(servers) != 1 || len(agents) != 2 {
		t.Fatalf("inventory: %+v", inventory)
	}
	vars := inventory.Cluster.Vars
	ssh := "ssh -o BatchMode=yes -i " + vars["ansible_ssh_private_key_file"] + " " + vars["ansible_ssh_common_args"] + " " +
		vars["ansible_user"] + "@" + agents["agent-2"].Host + " 'hostname; " + vars["ansible_python_interpreter"] + " -c \"print(6*7)\"'"
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	out, err := exec.CommandContext(ctx, "sh", "-c", ssh).CombinedOutput()
	if err != nil || string(out) != "agent-2\n42\n" {
		t.Errorf("%s: %v\n%s", ssh, err, out)
	}
}

func (s sandbox) logs(t *testing.T) {
	s.t = t
	if r := s.run(soon, "logs", "agent-1", "k3s-agent"); !strings.Contains(r.stdout, "systemd") {
		t.Errorf("logs: %q", r.stdout)
	}
}

// audit: the API server writes down who changed what.
func (s sandbox) audit(t *testing.T) {
	s.t = t
	s.run(soon, "kubectl", "create", "configmap", "audited")
	eventually(t, soon, "the request is in the audit log", func() bool {
		r := s.try(soon, "", "exec", "server-1", "grep", "-c", `"verb":"create".*"name":"audited"`, "/var/lib/rancher/k3s/server/logs/audit.log")
		return r.status == 0
	})
}

// ready says whether Kubernetes takes a node for Ready.
func (s sandbox) ready(node string) bool {
	r := s.try(soon, "", "kubectl", "get", "node", node, "-o", "json")
	if r.status != 0 {
		return false
	}
	var n struct {
		Status struct {
			Conditions []struct{ Type, Status string }
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &n); err != nil {
		s.t.Fatal(err)
	}
	for _, c := range n.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

// greets says whether a node's sshd says its first line: its kernel alone cannot.
func (s sandbox) greets(address string) bool {
	r := s.try(soon, "", "net", "timeout", "3", "bash", "-c", "exec 3<>/dev/tcp/"+address+"/22 && read -t 2 line <&3 && echo $line")
	return strings.HasPrefix(r.stdout, "SSH-2.0")
}

func (s sandbox) kill(t *testing.T) {
	s.t = t
	s.run(soon, "exec", "agent-1", "touch", "/run/this-life", "/root/for-good")
	killed := s.run(soon, "kill", "agent-1")
	t.Logf("kill: %.1f s", killed.took.Seconds())
	layout, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	if pids, err := layout.Group("k3s-core-ha-e2e-agent-1").Pids(); err != nil || len(pids) > 0 {
		t.Errorf("processes of a dead node: %v %v", pids, err)
	}
	if s.greets("198.18.0.21") {
		t.Error("a dead node answers")
	}
	if r := s.try(soon, "", "exec", "agent-1", "true"); r.status != 4 {
		t.Errorf("exec in a dead node: status %d", r.status)
	}
	if r := s.try(soon, "", "kill", "agent-1"); r.status != 4 {
		t.Errorf("killing a dead node: status %d", r.status)
	}
	if r := s.run(soon, "status"); !strings.Contains(r.stdout, "off") {
		t.Errorf("status: %s", r.stdout)
	}
	if r := s.run(soon, "logs", "agent-1", "k3s-agent"); !strings.Contains(r.stdout, "systemd") {
		t.Errorf("logs of a dead node: %q", r.stdout)
	}
	eventually(t, 90*time.Second, "Kubernetes takes agent-1 for dead", func() bool { return !s.ready("agent-1") })
	if !s.ready("server-1") || !s.ready("agent-2") {
		t.Error("the other nodes are not Ready")
	}
	s.run(soon, "restore", "agent-1")
	if r := s.try(soon, "", "exec", "agent-1", "sh", "-c", "test ! -e /run/this-life && test -e /root/for-good"); r.status != 0 {
		t.Errorf("after a loss of power the disk must be there and the memory gone: status %d", r.status)
	}
	eventually(t, time.Minute, "agent-1 is Ready again", func() bool { return s.ready("agent-1") })
}

func (s sandbox) hang(t *testing.T) {
	s.t = t
	count := func() string { return s.run(soon, "exec", "agent-2", "cat", "/run/count").stdout }
	s.run(soon, "exec", "agent-2", "systemd-run", "--quiet", "--unit=count", "sh", "-c", "while :; do n=$((n+1)); echo $n > /run/count.new; mv /run/count.new /run/count; sleep 0.05; done")
	eventually(t, soon, "the counter counts", func() bool { return s.try(soon, "", "exec", "agent-2", "test", "-e", "/run/count").status == 0 })
	s.run(soon, "hang", "agent-2")
	if s.greets("198.18.0.22") {
		t.Error("a hung node's sshd speaks")
	}
	if r := s.try(soon, "", "net", "bash", "-c", "exec 3<>/dev/tcp/198.18.0.22/22"); r.status != 0 {
		t.Errorf("a hung node's kernel does not answer: %s", r.stderr)
	}
	if r := s.try(2*time.Second, "", "exec", "agent-2", "true"); r.status != -1 {
		t.Errorf("a command in a hung node came to its end: status %d", r.status)
	}
	if r := s.run(soon, "status"); !strings.Contains(r.stdout, "hung") {
		t.Errorf("status: %s", r.stdout)
	}
	s.run(soon, "restore", "agent-2")
	before := count()
	eventually(t, soon, "the counter goes on", func() bool { return count() != before })
	s.run(soon, "exec", "agent-2", "systemctl", "stop", "count")
	eventually(t, time.Minute, "agent-2 is Ready", func() bool { return s.ready("agent-2") })
}

func (s sandbox) partition(t *testing.T) {
	s.t = t
	s.run(soon, "partition", "agent-2")
	if s.greets("198.18.0.22") {
		t.Error("a node without a cable answers")
	}
	s.run(soon, "exec", "agent-2", "true")
	if r := s.run(soon, "status"); !strings.Contains(r.stdout, "partitioned") {
		t.Errorf("status: %s", r.stdout)
	}
	s.run(soon, "restore", "agent-2")
	if !s.greets("198.18.0.22") {
		t.Error("a node with its cable back does not answer")
	}
	eventually(t, time.Minute, "agent-2 is Ready", func() bool { return s.ready("agent-2") })
}
