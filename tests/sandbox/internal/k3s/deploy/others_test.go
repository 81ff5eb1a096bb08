// SPDX-License-Identifier: GPL-3.0-or-later

package deploy_test

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Objects that carry CoreDNS's label but that k3s did not make are left alone,
// by --disable too.
func TestObjectsOfOthersAreUntouched(t *testing.T) {
	k := fresh(t)
	ctx := context.Background()
	meta := metav1.ObjectMeta{Name: "other", Labels: map[string]string{"k8s-app": "kube-dns"}}
	budgets, maps := k.client.PolicyV1().PodDisruptionBudgets("kube-system"), k.client.CoreV1().ConfigMaps("kube-system")
	pdb, err := budgets.Create(ctx, &policyv1.PodDisruptionBudget{ObjectMeta: meta}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cm, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: meta}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, disable := range [][]string{nil, {"coredns"}, nil} {
		k = k.restart(t, disable...)
		p, err := budgets.Get(ctx, "other", metav1.GetOptions{})
		if err != nil || p.ResourceVersion != pdb.ResourceVersion {
			t.Errorf("PodDisruptionBudget with disable %v: %v", disable, err)
		}
		m, err := maps.Get(ctx, "other", metav1.GetOptions{})
		if err != nil || m.ResourceVersion != cm.ResourceVersion {
			t.Errorf("ConfigMap with disable %v: %v", disable, err)
		}
	}
	if err := budgets.Delete(ctx, "other", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if err := maps.Delete(ctx, "other", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
}

func spreadEntry(when, more string) string {
	return pod(`{"topologySpreadConstraints":[{"topologyKey":"kubernetes.io/hostname","whenUnsatisfiable":"` + when + `"` + more + `}]}`)
}

// An entry with k3s's topologyKey and another whenUnsatisfiable is reordered once.
func TestSpreadEntryWithAnotherWhenUnsatisfiable(t *testing.T) {
	k := fresh(t)
	if err := k.deployment(t, spreadEntry("ScheduleAnyway", `,"maxSkew":1,"labelSelector":{"matchLabels":{"k8s-app":"kube-dns"}}`), false); err != nil {
		t.Fatal(err)
	}
	applied := k.coredns(t)
	k = k.restart(t)
	once := k.coredns(t)
	k.restart(t)
	twice := k.coredns(t)
	if once.Generation > applied.Generation+1 || twice.Generation != once.Generation {
		t.Errorf("generations %d, %d, %d", applied.Generation, once.Generation, twice.Generation)
	}
	if n := len(twice.Spec.Template.Spec.TopologySpreadConstraints); n != 3 {
		t.Errorf("%d entries", n)
	}
}

// An entry that holds its keys only breaks our whole set when a release gives
// k3s's entry another key.
func TestSpreadEntryThatIsNotHeldWhole(t *testing.T) {
	k := fresh(t)
	spec := spreadEntry("DoNotSchedule", `,"nodeTaintsPolicy":"Honor"`)
	if err := k.deployment(t, spec, false); err != nil {
		t.Fatal(err)
	}
	k.write(t, "coredns.yaml", strings.Replace(k.read(t, "coredns.yaml"), "whenUnsatisfiable: DoNotSchedule", "whenUnsatisfiable: ScheduleAnyway", 1))
	err := k.deploy.Pass(context.Background(), false)
	if err == nil {
		err = k.deployment(t, spec, true)
	}
	if err == nil || !strings.Contains(err.Error(), "maxSkew") {
		t.Errorf("got %v", err)
	}
}

// Taking over: a file of one's own with the same Service and no clusterIP adopts
// the live one, which keeps its address and uid.
func TestOwnFileAdoptsAServiceWithoutClusterIP(t *testing.T) {
	k := fresh(t)
	before := k.service(t)
	service := "apiVersion: v1\nkind: Service\nmetadata: {name: kube-dns, namespace: kube-system}\nspec:\n  selector: {k8s-app: kube-dns}\n  ports:\n  - {name: dns, port: 53, protocol: UDP}\n  - {name: dns-tcp, port: 53, protocol: TCP}\n"
	k.write(t, "coredns.yaml.skip", "")
	k.write(t, "own.yaml", service)
	k.pass(t)
	after := k.service(t)
	if after.UID != before.UID || after.Spec.ClusterIP != before.Spec.ClusterIP {
		t.Error("not the same Service")
	}
	if owner := after.Annotations["objectset.rio.cattle.io/owner-name"]; owner != "own" {
		t.Errorf("owner %q", owner)
	}
}

// With a clusterIP it fails, and is tried again.
func TestOwnFileWithTheClusterIPFails(t *testing.T) {
	k := fresh(t)
	before := k.service(t)
	k.write(t, "own.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: kube-dns, namespace: kube-system}\nspec:\n  clusterIP: "+before.Spec.ClusterIP+"\n  selector: {k8s-app: kube-dns}\n  ports:\n  - {name: dns, port: 53, protocol: UDP}\n")
	for range 2 {
		if err := k.deploy.Pass(context.Background(), false); err == nil || !strings.Contains(err.Error(), "already allocated") {
			t.Errorf("got %v", err)
		}
	}
	if after := k.service(t); after.ResourceVersion != before.ResourceVersion {
		t.Error("the Service changed")
	}
	if _, err := k.client.AppsV1().Deployments("kube-system").Get(context.Background(), "coredns", metav1.GetOptions{}); apierrors.IsNotFound(err) {
		t.Error("coredns is gone")
	}
}
