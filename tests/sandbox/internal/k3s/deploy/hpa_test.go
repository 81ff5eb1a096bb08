// SPDX-License-Identifier: GPL-3.0-or-later

package deploy_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k3s-ha.core/sandbox/internal/k3s/supervise"
)

// autoscaler runs the controller manager with this one controller, every 2 s in
// place of 15, and without metrics.
func (c *cluster) autoscaler(t *testing.T) {
	t.Helper()
	group := supervise.New(io.Discard)
	err := group.Start(supervise.Command{
		Name: "kube-controller-manager",
		Path: filepath.Join(os.Getenv("K3S_COMPONENTS"), "kube"),
		Args: []string{
			"kube-controller-manager", "--kubeconfig=" + filepath.Join(c.dir, "server/cred/supervisor.kubeconfig"),
			"--controllers=horizontal-pod-autoscaler-controller", "--horizontal-pod-autoscaler-sync-period=2s", "--leader-elect=false", "--secure-port=0",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(group.Stop)
	target := int32(75)
	hpa := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "coredns"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "coredns"},
			MinReplicas:    ptr(int32(3)),
			MaxReplicas:    5,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
				Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &target},
			}}},
		},
	}
	api := c.client.AutoscalingV2().HorizontalPodAutoscalers("kube-system")
	if _, err := api.Create(context.Background(), hpa, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := api.Delete(context.Background(), "coredns", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

func ptr[T any](v T) *T { return &v }

func (c *cluster) waitReplicas(t *testing.T, want int32) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		n := *c.coredns(t).Spec.Replicas
		if n == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d replicas, want %d", n, want)
		}
	}
}

// replicasOwner is the manager of f:replicas.
func (c *cluster) replicasOwner(t *testing.T) []string {
	t.Helper()
	var managers []string
	for _, m := range c.coredns(t).ManagedFields {
		if strings.Contains(string(m.FieldsV1.Raw), `"f:replicas":{}`) && m.Subresource != "status" {
			managers = append(managers, m.Manager)
		}
	}
	return managers
}

// The autoscaler's row: its minimum holds without metrics, and k3s leaves it
// alone.
func TestAutoscalerWithAMinimum(t *testing.T) {
	k := fresh(t)
	if got := k.replicasOwner(t); len(got) != 1 || got[0] != "deploy@"+self {
		t.Errorf("at first replicas belong to %v", got)
	}
	k.autoscaler(t)
	k.waitReplicas(t, 3)
	if got := k.replicasOwner(t); len(got) != 1 || got[0] != "kube-controller-manager" {
		t.Errorf("scaled, replicas belong to %v", got)
	}
	k = k.restart(t)
	if n := *k.coredns(t).Spec.Replicas; n != 3 {
		t.Errorf("%d replicas after a restart", n)
	}
	k.upgrade(t)
	k.pass(t)
	if n := *k.coredns(t).Spec.Replicas; n != 3 {
		t.Errorf("%d replicas after an upgrade", n)
	}

	// Dropping replicas from an apply set resets them at once.
	if err := k.deployment(t, `{"replicas":4}`, true); err != nil {
		t.Fatal(err)
	}
	if err := k.deployment(t, `{"minReadySeconds":3}`, true); err != nil {
		t.Fatal(err)
	}
	if n := *k.coredns(t).Spec.Replicas; n == 4 {
		t.Error("replicas stayed when they left our set")
	}
	k.waitReplicas(t, 3)
	if got := k.replicasOwner(t); len(got) != 0 {
		t.Errorf("scaled where no one owned them, replicas belong to %v", got)
	}

	// At 0 the autoscaler is off.
	if err := k.deployment(t, `{"replicas":0}`, true); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if n := *k.coredns(t).Spec.Replicas; n != 0 {
			t.Fatalf("%d replicas from 0", n)
		}
	}
}
