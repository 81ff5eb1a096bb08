// SPDX-License-Identifier: GPL-3.0-or-later

package deploy_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"k3s-ha.core/sandbox/internal/k3s/nodes"
)

// waitHosts waits until NodeHosts is what it should be.
func (c *cluster) waitHosts(t *testing.T, want string) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		got := c.configMap(t).Data["NodeHosts"]
		if got == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("NodeHosts %q, want %q", got, want)
		}
	}
}

func (c *cluster) node(t *testing.T, name, address string) {
	t.Helper()
	ctx := context.Background()
	api := c.client.CoreV1().Nodes()
	if _, err := api.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	status := `{"status":{"addresses":[{"type":"InternalIP","address":"` + address + `"}]}}`
	if _, err := api.Patch(ctx, name, types.StrategicMergePatchType, []byte(status), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := api.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

func TestNodeHosts(t *testing.T) {
	k := fresh(t)
	ctx, cancel := context.WithCancel(context.Background())
	controller, err := nodes.New(k.cfg, self, nodes.Duties{Labels: map[string]string{nodes.RoleControlPlane: "true"}, NodeHosts: true}, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); controller.Run(ctx) }()
	// Registered first, so run last: the nodes are deleted while it still watches.
	t.Cleanup(func() { cancel(); <-done })

	k.node(t, self, "192.0.2.11")
	k.node(t, "agent-1", "192.0.2.21")
	k.waitHosts(t, "192.0.2.21 agent-1\n192.0.2.11 "+self+"\n")
	server, err := k.client.CoreV1().Nodes().Get(ctx, self, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	agent, err := k.client.CoreV1().Nodes().Get(ctx, "agent-1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const control = "node-role.kubernetes.io/control-plane"
	if _, ok := agent.Labels[control]; ok || server.Labels[control] != "true" {
		t.Errorf("labels of the server %v, of the agent %v", server.Labels, agent.Labels)
	}
	for _, m := range k.configMap(t).ManagedFields {
		fields := string(m.FieldsV1.Raw)
		if hosts := strings.Contains(fields, "f:NodeHosts"); hosts != (m.Manager == "k3s-supervisor@"+self) {
			t.Errorf("manager %s owns %s", m.Manager, fields)
		}
	}

	// A forced apply keeps the key and a foreign one, and sets the Corefile back.
	edit := `{"data":{"foreign":"x","Corefile":"edited"}}`
	maps := k.client.CoreV1().ConfigMaps("kube-system")
	if _, err := maps.Patch(ctx, "coredns", types.MergePatchType, []byte(edit), metav1.PatchOptions{FieldManager: "someone"}); err != nil {
		t.Fatal(err)
	}
	k = k.restart(t)
	cm := k.configMap(t)
	if cm.Data["NodeHosts"] == "" || cm.Data["foreign"] != "x" || cm.Data["Corefile"] == "edited" {
		t.Errorf("after a restart: %v", cm.Data)
	}

	// Under .skip they go on being fed.
	k.write(t, "coredns.yaml.skip", "")
	k = k.restart(t)
	k.node(t, "agent-2", "192.0.2.22")
	k.waitHosts(t, "192.0.2.21 agent-1\n192.0.2.22 agent-2\n192.0.2.11 "+self+"\n")
	if err := os.Remove(k.file("coredns.yaml.skip")); err != nil {
		t.Fatal(err)
	}

	// Disabled and enabled again: no key until a Node changes, then its line only.
	k.restart(t, "coredns")
	k = k.restart(t)
	if hosts, ok := k.configMap(t).Data["NodeHosts"]; ok {
		t.Errorf("NodeHosts %q without an event", hosts)
	}
	touch := `{"metadata":{"annotations":{"a":"b"}}}`
	if _, err := k.client.CoreV1().Nodes().Patch(ctx, "agent-1", types.MergePatchType, []byte(touch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	k.waitHosts(t, "192.0.2.21 agent-1\n")
}
