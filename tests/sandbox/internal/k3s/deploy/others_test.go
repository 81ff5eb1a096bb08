// SPDX-License-Identifier: GPL-3.0-or-later

package deploy_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Objects that carry CoreDNS's label but that k3s did not make are left alone,
// by --disable too.
func TestObjectsOfOthersAreUntouched(t *testing.T) {
	k := fresh(t)
	var manifest strings.Builder
	resources := map[string]schema.GroupVersionResource{}
	for kind, o := range map[string]struct {
		group    schema.GroupVersion
		resource string
		content  string
	}{
		"PodDisruptionBudget": {policyv1.SchemeGroupVersion, "poddisruptionbudgets", "spec: {}"},
		"HorizontalPodAutoscaler": {
			autoscalingv2.SchemeGroupVersion, "horizontalpodautoscalers",
			"spec: {maxReplicas: 3, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: coredns}}",
		},
		"DaemonSet": {
			appsv1.SchemeGroupVersion, "daemonsets",
			"spec: {selector: {matchLabels: {own: x}}, template: {metadata: {labels: {own: x, k8s-app: kube-dns}}, " +
				"spec: {containers: [{name: c, image: example.org/other:1}]}}}",
		},
		"Service":   {corev1.SchemeGroupVersion, "services", "spec: {selector: {k8s-app: kube-dns}, ports: [{port: 53}]}"},
		"ConfigMap": {corev1.SchemeGroupVersion, "configmaps", "data: {}"},
	} {
		resources[kind] = o.group.WithResource(o.resource)
		const document = "apiVersion: %s\nkind: %s\nmetadata: {name: other, labels: {k8s-app: kube-dns}}\n%s\n---\n"
		fmt.Fprintf(&manifest, document, o.group, kind, o.content)
	}
	k.kubectl(t, manifest.String(), "create", "-f", "-")
	defer k.kubectl(t, manifest.String(), "delete", "-f", "-", "--ignore-not-found")
	versions := func() map[string]string {
		all := map[string]string{}
		for kind, r := range resources {
			o, err := k.meta.Resource(r).Namespace("kube-system").Get(context.Background(), "other", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			all[kind] = string(o.UID) + " " + o.ResourceVersion
		}
		return all
	}
	before, requests := versions(), k.others.Load()
	for _, disable := range [][]string{nil, {"coredns"}, nil} {
		k = k.restart(t, disable...)
		if after := versions(); !maps.Equal(after, before) {
			t.Errorf("with disable %v: %v became %v", disable, before, after)
		}
	}
	if n := k.others.Load() - requests; n != 0 {
		t.Errorf("%d requests about them", n)
	}
}

// whole is what else k3s's spread entry over hosts holds.
const whole = `,"maxSkew":1,"labelSelector":{"matchLabels":{"k8s-app":"kube-dns"}}`

func spreadEntryFor(key, when, more string) string {
	return pod(fmt.Sprintf(`{"topologySpreadConstraints":[{"topologyKey":%q,"whenUnsatisfiable":%q%s}]}`, key, when, more))
}

func spreadEntry(when, more string) string {
	return spreadEntryFor("kubernetes.io/hostname", when, more)
}

// An entry with k3s's topologyKey and another whenUnsatisfiable is reordered once.
func TestSpreadEntryWithAnotherWhenUnsatisfiable(t *testing.T) {
	k := fresh(t)
	if err := k.deployment(t, spreadEntry("ScheduleAnyway", whole), false); err != nil {
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
