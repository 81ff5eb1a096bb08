// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package e2e

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestShapedAsK3s is what an operator of a k3s server finds on a node.
func TestShapedAsK3s(t *testing.T) {
	s := sandbox{t, "e2e-k3s"}
	s.run(soon, "down")
	t.Cleanup(func() { s.run(soon, "down") })
	s.run(3*time.Minute, "up", "single")
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"version", s.version},
		{"node", s.nodeObject},
		{"packaged components", s.packaged},
		{"kubelet", s.kubelet},
		{"restart", s.restart},
		{"crash", s.crash},
		{"uninstall", s.uninstall},
	} {
		t.Run(test.name, test.run)
	}
}

func (s sandbox) kubectl(args ...string) string {
	s.t.Helper()
	return strings.TrimSpace(s.run(soon, append([]string{"kubectl"}, args...)...).stdout)
}

func (s sandbox) on(args ...string) string {
	s.t.Helper()
	return strings.TrimSpace(s.run(time.Minute, append([]string{"exec", "server-1"}, args...)...).stdout)
}

func (s sandbox) version(t *testing.T) {
	s.t = t
	if out := s.on("k3s", "--version"); !regexp.MustCompile(`^k3s version v1\.\d+\.\d+\+k3s1\n`).MatchString(out) {
		t.Errorf("k3s --version: %q", out)
	}
	if out := s.on("k3s", "kubectl", "get", "nodes", "-o", "name"); out != "node/server-1" {
		t.Errorf("k3s kubectl: %q", out)
	}
	if out := s.on("k3s", "ctr", "images", "ls", "-q"); !strings.Contains(out, "docker.io/rancher/mirrored-coredns-coredns:") {
		t.Errorf("k3s ctr: %q", out)
	}
	if out := s.on("stat", "-c", "%a", "/etc/rancher/k3s/k3s.yaml"); out != "600" {
		t.Errorf("mode of k3s.yaml: %s", out)
	}
	if out := s.on("cat", "/var/lib/rancher/k3s/server/token"); !regexp.MustCompile(`^K10[0-9a-f]{64}::server:.`).MatchString(out) {
		t.Error("the token does not have k3s's form")
	}
}

func (s sandbox) nodeObject(t *testing.T) {
	s.t = t
	var node struct {
		Metadata struct{ Labels, Annotations map[string]string }
		Spec     struct{ ProviderID string }
	}
	if err := json.Unmarshal([]byte(s.kubectl("get", "node", "server-1", "-o", "json")), &node); err != nil {
		t.Fatal(err)
	}
	labels, notes := node.Metadata.Labels, node.Metadata.Annotations
	if labels["node-role.kubernetes.io/control-plane"] != "true" || labels["node.kubernetes.io/instance-type"] != "k3s" || node.Spec.ProviderID != "k3s://server-1" {
		t.Errorf("labels %v, provider %q", labels, node.Spec.ProviderID)
	}
	var args []string
	if err := json.Unmarshal([]byte(notes["k3s.io/node-args"]), &args); err != nil {
		t.Fatal(err)
	}
	token := slices.Index(args, "--token")
	if args[0] != "server" || token < 0 || args[token+1] != "********" {
		t.Errorf("node-args %q", args)
	}
	if notes["k3s.io/hostname"] != "server-1" || notes["k3s.io/internal-ip"] == "" {
		t.Errorf("annotations %v", notes)
	}
	if hosts := s.kubectl("-n", "kube-system", "get", "configmap", "coredns", "-o", "jsonpath={.data.NodeHosts}"); hosts != notes["k3s.io/internal-ip"]+" server-1" {
		t.Errorf("NodeHosts %q", hosts)
	}
}

func (s sandbox) packaged(t *testing.T) {
	s.t = t
	for _, name := range []string{"coredns", "local-path-provisioner", "metrics-server"} {
		s.run(2*time.Minute, "kubectl", "-n", "kube-system", "rollout", "status", "deployment/"+name, "--timeout=110s")
	}
	eventually(t, time.Minute, "metrics of the node", func() bool { return s.try(soon, "", "kubectl", "top", "nodes").status == 0 })
	manifest := `{"apiVersion":"v1","kind":"List","items":[
		{"apiVersion":"v1","kind":"PersistentVolumeClaim","metadata":{"name":"volume"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Mi"}}}},
		{"apiVersion":"v1","kind":"Pod","metadata":{"name":"user"},"spec":{"terminationGracePeriodSeconds":0,
			"containers":[{"name":"c","image":"rancher/mirrored-library-busybox:1.37.0","command":["sh","-c","echo kept > /v/file; exec sleep 1000000"],"volumeMounts":[{"name":"v","mountPath":"/v"}]}],
			"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"volume"}}]}}]}`
	if r := s.try(soon, manifest, "kubectl", "apply", "-f", "-"); r.status != 0 {
		t.Fatal(r.stderr)
	}
	s.run(time.Minute, "kubectl", "wait", "--for=condition=Ready", "pod/user", "--timeout=50s")
	if out := s.kubectl("exec", "user", "--", "cat", "/v/file"); out != "kept" {
		t.Errorf("the volume holds %q", out)
	}
	if out := s.kubectl("exec", "user", "--", "nslookup", "kubernetes.default.svc.cluster.local"); !strings.Contains(out, "10.43.0.1") {
		t.Errorf("nslookup: %s", out)
	}
}

// kubelet: the settings that decide how soon a node is taken for dead, and where an operator changes the one that counts.
func (s sandbox) kubelet(t *testing.T) {
	s.t = t
	type configuration struct {
		Kubeletconfig struct {
			NodeStatusUpdateFrequency, NodeStatusReportFrequency string
			NodeLeaseDurationSeconds                             int
		}
	}
	read := func() (c configuration) {
		if err := json.Unmarshal([]byte(s.kubectl("get", "--raw", "/api/v1/nodes/server-1/proxy/configz")), &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	k := read().Kubeletconfig
	if k.NodeStatusUpdateFrequency != "10s" || k.NodeStatusReportFrequency != "5m0s" || k.NodeLeaseDurationSeconds != 40 {
		t.Errorf("%+v", k)
	}
	lease := func() string {
		return s.kubectl("-n", "kube-node-lease", "get", "lease", "server-1", "-o", "jsonpath={.spec.leaseDurationSeconds}")
	}
	const dropIn = "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/99-lease.conf"
	s.on("sh", "-c", "printf 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nnodeLeaseDurationSeconds: 20\n' >"+dropIn)
	s.on("systemctl", "restart", "k3s")
	eventually(t, time.Minute, "the lease lasts what the drop-in says", func() bool { return s.apiAnswers() && lease() == "20" })
	s.on("rm", dropIn)
	s.on("systemctl", "restart", "k3s")
	eventually(t, time.Minute, "and without it what it did", func() bool { return s.apiAnswers() && lease() == "40" })
}

// versions of what k3s applies, and the containers' processes.
func (s sandbox) standing() (objects, shims string) {
	s.t.Helper()
	objects = s.kubectl("-n", "kube-system", "get", "deployments,services", "-o",
		`jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.generation} {.metadata.uid}{"\n"}{end}`)
	return objects, s.on("pgrep", "-f", "/containerd-shim-runc-v2 ")
}

func (s sandbox) apiAnswers() bool {
	return s.try(soon, "", "kubectl", "get", "--raw", "/readyz").status == 0
}

// applied is how often the manifests were.
func (s sandbox) applied() string {
	return s.kubectl("-n", "kube-system", "get", "events", "--field-selector=reason=AppliedManifest,involvedObject.name=coredns", "-o", "jsonpath={.items[*].count}")
}

// A restart applies everything, changes nothing and leaves containers running.
func (s sandbox) restart(t *testing.T) {
	s.t = t
	objects, shims := s.standing()
	before := s.applied()
	s.on("systemctl", "restart", "k3s")
	eventually(t, time.Minute, "the API after a restart of k3s", s.apiAnswers)
	eventually(t, time.Minute, "the manifests applied again", func() bool { return s.applied() != before })
	if o, c := s.standing(); o != objects || c != shims {
		t.Errorf("objects\n%s\nwere\n%s\nshims %q, were %q", o, objects, c, shims)
	}
}

// A crash takes the components with it and leaves containers running.
func (s sandbox) crash(t *testing.T) {
	s.t = t
	objects, shims := s.standing()
	before := s.on("pgrep", "-f", "^/opt/k3s/bin/(kube|kine|containerd) ")
	s.on("pkill", "-9", "-x", "k3s")
	eventually(t, time.Minute, "the API after a crash of k3s", s.apiAnswers)
	after := strings.Fields(s.on("pgrep", "-f", "^/opt/k3s/bin/(kube|kine|containerd) "))
	for _, pid := range strings.Fields(before) {
		if slices.Contains(after, pid) {
			t.Errorf("process %s outlived k3s", pid)
		}
	}
	if o, c := s.standing(); o != objects || c != shims {
		t.Errorf("objects\n%s\nwere\n%s\nshims %q, were %q", o, objects, c, shims)
	}
}

func (s sandbox) uninstall(t *testing.T) {
	s.t = t
	s.on("k3s-uninstall.sh")
	if out := s.on("sh", "-c", "ps -eo comm= | grep -xE 'k3s|kube|kine|containerd.*|coredns|pause' | sort -u; grep -E '/run/k3s|/var/lib/kubelet|/run/netns/cni-' /proc/self/mounts; ip -o link show cni0 2>&1 | grep cni0:; true"); out != "" {
		t.Errorf("left: %s", out)
	}
	if r := s.try(soon, "", "exec", "server-1", "test", "-e", "/etc/rancher/k3s"); r.status != 1 {
		t.Errorf("test -e: %d", r.status)
	}
}
