// SPDX-License-Identifier: GPL-3.0-or-later

package deploy_test

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const image = `{"containers":[{"name":"coredns","image":"example.org/other:1"}]}`

func TestFirstStart(t *testing.T) {
	k := fresh(t)
	sum := sha256.Sum256([]byte(k.read(t, "coredns.yaml")))
	if got, _ := k.addon(t, "coredns"); got != hex.EncodeToString(sum[:]) {
		t.Errorf("checksum %q", got)
	}
	for _, name := range []string{
		"coredns", "local-storage", "metrics-server-deployment", "metrics-server-service", "metrics-apiservice",
		"auth-reader", "auth-delegator", "resource-reader", "aggregated-metrics-reader",
	} {
		if sum, ok := k.addon(t, name); !ok || sum == "" {
			t.Errorf("AddOn %s: found %t, checksum %q", name, ok, sum)
		}
	}
	k.event(t, "coredns", "ApplyingManifest", "coredns.yaml")
	k.event(t, "coredns", "AppliedManifest", "coredns.yaml")

	d := k.coredns(t)
	if *d.Spec.Replicas != 1 || d.Spec.Strategy.RollingUpdate.MaxSurge.String() != "25%" {
		t.Errorf("replicas %d, maxSurge %s", *d.Spec.Replicas, d.Spec.Strategy.RollingUpdate.MaxSurge)
	}
	if len(d.OwnerReferences) > 0 {
		t.Errorf("owner references %v", d.OwnerReferences)
	}
	const id = "" // k3s gives none
	hash := sha1.Sum([]byte(id + "k3s.cattle.io/v1, Kind=Addon" + "coredns" + "kube-system"))
	if got, want := d.Labels["objectset.rio.cattle.io/hash"], hex.EncodeToString(hash[:]); got != want {
		t.Errorf("hash %q, want %q", got, want)
	}
	for key, want := range map[string]string{
		"objectset.rio.cattle.io/id":              id,
		"objectset.rio.cattle.io/owner-gvk":       "k3s.cattle.io/v1, Kind=Addon",
		"objectset.rio.cattle.io/owner-name":      "coredns",
		"objectset.rio.cattle.io/owner-namespace": "kube-system",
	} {
		if got, ok := d.Annotations[key]; !ok || got != want {
			t.Errorf("annotation %s is %q", key, got)
		}
	}
	if d.Annotations["objectset.rio.cattle.io/applied"] == "" {
		t.Error("no annotation with the applied state")
	}
	for _, m := range d.ManagedFields {
		if m.Manager != "deploy@"+self || m.Operation != metav1.ManagedFieldsOperationUpdate {
			t.Errorf("manager %s %s", m.Manager, m.Operation)
		}
	}
	for _, field := range []string{"replicas", "maxSurge", "terminationGracePeriodSeconds"} {
		if !strings.Contains(string(d.ManagedFields[0].FieldsV1.Raw), `"f:`+field+`"`) {
			t.Errorf("deploy@ does not own %s, a default of the create", field)
		}
	}
}

func TestQuietPassAsksNothing(t *testing.T) {
	k := fresh(t)
	before := k.requests.Load()
	k.pass(t)
	if n := k.requests.Load() - before; n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestForcedApplyOfAnUnchangedReleaseIsANoOp(t *testing.T) {
	k := fresh(t)
	versions := func() string {
		d, s, cm := k.coredns(t), k.service(t), k.configMap(t)
		return fmt.Sprint(d.Generation, d.ResourceVersion, s.ResourceVersion, cm.ResourceVersion, d.UID, s.UID)
	}
	before, writes := versions(), k.writes.Load()
	k.restart(t)
	if after := versions(); after != before {
		t.Errorf("%s became %s", before, after)
	}
	if k.writes.Load() == writes {
		t.Error("a start applied nothing: it is not forced")
	}
}

// The table of what survives, by server-side apply of another manager: a restart
// changes nothing (not even the generation), an upgrade changes only its own.
func TestDurableFields(t *testing.T) {
	for _, row := range []struct {
		name, spec string
		force      bool
	}{
		{"replicas", `{"replicas":3}`, true},
		{"replicas 0", `{"replicas":0}`, true},
		{"affinity", pod(`{"affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":1,"preference":{"matchExpressions":[{"key":"a","operator":"Exists"}]}}]}}}`), false},
		{"minReadySeconds", `{"minReadySeconds":3}`, false},
		{"preStop sleep", pod(`{"containers":[{"name":"coredns","lifecycle":{"preStop":{"sleep":{"seconds":8}}}}]}`), false},
		{"template annotation", `{"template":{"metadata":{"annotations":{"a":"b"}}}}`, false},
		{"maxSurge", `{"strategy":{"rollingUpdate":{"maxSurge":1}}}`, true},
		{"terminationGracePeriodSeconds", pod(`{"terminationGracePeriodSeconds":40}`), true},
		{"nodeTaintsPolicy in k3s's entry", spreadEntry("DoNotSchedule", whole+`,"nodeTaintsPolicy":"Honor"`), false},
		{"matchLabelKeys in k3s's entry", spreadEntry("DoNotSchedule", whole+`,"matchLabelKeys":["pod-template-hash"]`), false},
		{"a spread entry with another key", pod(`{"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"example.org/rack","whenUnsatisfiable":"ScheduleAnyway"}]}`), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			k := fresh(t)
			if err := k.deployment(t, row.spec, false); row.force != apierrors.IsConflict(err) || (!row.force && err != nil) {
				t.Fatalf("without force: %v", err)
			}
			if err := k.deployment(t, row.spec, true); err != nil {
				t.Fatal(err)
			}
			applied := k.coredns(t)
			k = k.restart(t)
			if d := k.coredns(t); d.Generation != applied.Generation || d.ResourceVersion != applied.ResourceVersion {
				t.Errorf("a restart took generation %d to %d", applied.Generation, d.Generation)
			}

			k.nextRelease(t)
			d := k.coredns(t)
			// Applying the same again unforced neither conflicts nor changes anything.
			if err := k.deployment(t, row.spec, false); err != nil {
				t.Errorf("after the upgrade: %v", err)
			}
			if again := k.coredns(t); again.Generation != d.Generation {
				t.Error("the upgrade changed a field of ours")
			}
		})
	}
}

// nextRelease is an upgrade: another image, another memory limit, and a new label
// of the Deployment and the Service.
func (k *k3s) nextRelease(t *testing.T) {
	t.Helper()
	text := k.read(t, "coredns.yaml")
	text = strings.Replace(text, "rancher/mirrored-coredns-coredns:", "rancher/mirrored-coredns-coredns:next-", 1)
	text = strings.Replace(text, "memory: 170Mi", "memory: 171Mi", 1)
	text = strings.ReplaceAll(text, "kubernetes.io/name: CoreDNS", "kubernetes.io/name: CoreDNS\n    next: release")
	k.write(t, "coredns.yaml", text)
	k.pass(t)
	k.mustRun(t, "an upgrade", "next-", true)
	if k.coredns(t).Labels["next"] != "release" || k.service(t).Labels["next"] != "release" {
		t.Fatal("the upgrade was not applied")
	}
}

// The row of replicas, where it is kubectl that scales.
func TestReplicasByKubectlScale(t *testing.T) {
	k := fresh(t)
	k.kubectl(t, "", "scale", "deployment/coredns", "--replicas=3")
	scaled := k.coredns(t)
	k = k.restart(t)
	if d := k.coredns(t); *d.Spec.Replicas != 3 || d.ResourceVersion != scaled.ResourceVersion {
		t.Errorf("%d replicas after a restart, generation %d became %d", *d.Spec.Replicas, scaled.Generation, d.Generation)
	}
	k.nextRelease(t)
	if n := *k.coredns(t).Spec.Replicas; n != 3 {
		t.Errorf("%d replicas after an upgrade", n)
	}
}

// Contested fields are set back at a start; under .skip a change of them lasts.
func TestContestedFields(t *testing.T) {
	for name, spec := range map[string]string{
		"tolerations":                pod(`{"tolerations":[{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":20}]}`),
		"maxSkew of k3s's entry":     pod(`{"topologySpreadConstraints":[{"maxSkew":2,"topologyKey":"kubernetes.io/hostname","whenUnsatisfiable":"DoNotSchedule"}]}`),
		"maxUnavailable":             `{"strategy":{"rollingUpdate":{"maxUnavailable":2}}}`,
		"resources that are there":   pod(`{"containers":[{"name":"coredns","resources":{"limits":{"memory":"200Mi"}}}]}`),
		"image":                      pod(image),
		"arguments of the container": pod(`{"containers":[{"name":"coredns","args":["-conf","/other"]}]}`),
	} {
		t.Run(name, func(t *testing.T) {
			k := fresh(t)
			packaged := k.coredns(t)
			if err := k.deployment(t, spec, false); !apierrors.IsConflict(err) {
				t.Errorf("without force: %v", err)
			}
			if err := k.deployment(t, spec, true); err != nil {
				t.Fatal(err)
			}
			k.pass(t)
			if d := k.coredns(t); d.Generation != packaged.Generation+1 {
				t.Error("set back by a quiet pass")
			}
			k = k.restart(t)
			d := k.coredns(t)
			if d.Generation != packaged.Generation+2 {
				t.Errorf("generation %d after the restart, was %d", d.Generation, packaged.Generation)
			}
			if got, want := specJSON(t, d), specJSON(t, packaged); got != want {
				t.Errorf("not as packaged:\n%s\n%s", got, want)
			}

			k.write(t, "coredns.yaml.skip", "")
			if err := k.deployment(t, spec, true); err != nil {
				t.Fatal(err)
			}
			edited := k.coredns(t)
			if edited.Generation != d.Generation+1 {
				t.Errorf("generation %d after the same change again, was %d", edited.Generation, d.Generation)
			}
			k = k.restart(t)
			if d := k.coredns(t); d.ResourceVersion != edited.ResourceVersion {
				t.Error("the change did not outlive a restart under .skip")
			}
			k = k.begin(t)
			k.upgrade(t)
			k.first(t)
			if d := k.coredns(t); d.ResourceVersion != edited.ResourceVersion {
				t.Error("the change did not outlive an upgrade under .skip")
			}
		})
	}
}

func TestTrafficDistributionOfTheService(t *testing.T) {
	k := fresh(t)
	body := `{"apiVersion":"v1","kind":"Service","metadata":{"name":"kube-dns"},"spec":{"trafficDistribution":"PreferSameNode"}}`
	services := k.client.CoreV1().Services("kube-system")
	s, err := services.Patch(context.Background(), "kube-dns", types.ApplyPatchType, []byte(body), metav1.PatchOptions{FieldManager: ours})
	if err != nil {
		t.Fatal(err)
	}
	k = k.restart(t)
	if after := k.service(t); after.ResourceVersion != s.ResourceVersion {
		t.Errorf("a restart patched the Service: %v", after.Spec.TrafficDistribution)
	}
	k.nextRelease(t)
	if after := k.service(t).Spec.TrafficDistribution; after == nil || *after != "PreferSameNode" {
		t.Errorf("after an upgrade it is %v", after)
	}
	k.restart(t, "coredns")
	k.restart(t)
	if after := k.service(t); after.Spec.TrafficDistribution != nil {
		t.Error("it outlived disable and enable")
	}
}

func TestWayBackByAnEmptySet(t *testing.T) {
	k := fresh(t)
	spec := `{"replicas":3,"minReadySeconds":3,"strategy":{"rollingUpdate":{"maxSurge":1}},"template":{"spec":{"terminationGracePeriodSeconds":40,"containers":[{"name":"coredns","lifecycle":{"preStop":{"sleep":{"seconds":8}}}}]}}}`
	packaged := k.coredns(t)
	if err := k.deployment(t, spec, true); err != nil {
		t.Fatal(err)
	}
	k = k.restart(t)
	if err := k.deployment(t, "", false); err != nil {
		t.Fatal(err)
	}
	back := k.coredns(t)
	if got, want := specJSON(t, back), specJSON(t, packaged); got != want {
		t.Errorf("not as packaged:\n%s\n%s", got, want)
	}
	for _, m := range back.ManagedFields {
		if m.Manager == ours {
			t.Errorf("we still own %s", m.FieldsV1.Raw)
		}
	}
	k.restart(t)
	if d := k.coredns(t); d.Generation != back.Generation {
		t.Error("the next restart changed something")
	}
}

// Under .skip a restart ignores the file, too.
func TestDeletedByHandStaysGoneUntilARestart(t *testing.T) {
	for name, skip := range map[string]bool{"without .skip": false, "with .skip": true} {
		t.Run(name, func(t *testing.T) {
			k := fresh(t)
			if skip {
				k.write(t, "coredns.yaml.skip", "")
			}
			deployments := k.client.AppsV1().Deployments("kube-system")
			if err := deployments.Delete(context.Background(), "coredns", metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			gone := func() bool {
				_, err := deployments.Get(context.Background(), "coredns", metav1.GetOptions{})
				return apierrors.IsNotFound(err)
			}
			k.pass(t)
			k.touch(t, "coredns.yaml") // the checksum is the same
			k.pass(t)
			if !gone() {
				t.Error("back after two passes")
			}
			k = k.restart(t)
			if gone() != skip {
				t.Errorf("after a restart: gone %t", gone())
			}
			if skip {
				if err := os.Remove(k.file("coredns.yaml.skip")); err != nil {
					t.Fatal(err)
				}
				k.restart(t)
				k.coredns(t)
			}
		})
	}
}

func TestSkip(t *testing.T) {
	k := fresh(t)
	k.write(t, "coredns.yaml.skip", "")
	if err := k.deployment(t, pod(image), true); err != nil {
		t.Fatal(err)
	}
	edited := k.coredns(t)
	k.write(t, "coredns.yaml", "edited: true\n")
	k = k.restart(t)
	if d := k.coredns(t); d.ResourceVersion != edited.ResourceVersion {
		t.Error("a contested edit did not outlive a restart")
	}
	if strings.Contains(k.read(t, "coredns.yaml"), "edited") {
		t.Error("the staged file was not rewritten")
	}
}

// The ways back from .skip without a restart.
func TestWaysBackFromSkip(t *testing.T) {
	ctx := context.Background()
	k := fresh(t)
	addons := k.addons.K3sV1().Addons("kube-system")
	for _, way := range []struct {
		name   string
		forget func() error
	}{
		{"forgetting the checksum", func() error {
			patch := []byte(`{"spec":{"checksum":""}}`)
			_, err := addons.Patch(ctx, "coredns", types.MergePatchType, patch, metav1.PatchOptions{})
			return err
		}},
		{"deleting the AddOn", func() error { return addons.Delete(ctx, "coredns", metav1.DeleteOptions{}) }},
	} {
		t.Run(way.name, func(t *testing.T) {
			k.write(t, "coredns.yaml.skip", "")
			if err := k.deployment(t, `{"minReadySeconds":3,"template":{"spec":`+image+`}}`, true); err != nil {
				t.Fatal(err)
			}
			k = k.restart(t)
			before, edited := uids(k.six(t)), k.coredns(t)
			unchanged := func(what string) {
				t.Helper()
				if d := k.coredns(t); d.ResourceVersion != edited.ResourceVersion {
					t.Errorf("%s set the edit back", what)
				}
			}
			if err := os.Remove(k.file("coredns.yaml.skip")); err != nil {
				t.Fatal(err)
			}
			k.pass(t)
			unchanged("removing .skip alone")
			k.touch(t, "coredns.yaml")
			k.pass(t)
			unchanged("a touch alone")
			if err := way.forget(); err != nil {
				t.Fatal(err)
			}
			k.pass(t)
			unchanged(way.name + " alone")
			k.touch(t, "coredns.yaml")
			k.pass(t)
			k.mustRun(t, "a touch and "+way.name, "example.org", false)
			d := k.coredns(t)
			if d.Generation != edited.Generation+1 || d.Spec.MinReadySeconds != 3 {
				t.Errorf("generation %d after %d, minReadySeconds %d", d.Generation, edited.Generation, d.Spec.MinReadySeconds)
			}
			if after := uids(k.six(t)); !maps.Equal(after, before) {
				t.Errorf("uids %v were %v", after, before)
			}
		})
	}
}

func TestDisable(t *testing.T) {
	k := fresh(t)
	k.write(t, "coredns.yaml.skip", "")
	if err := k.deployment(t, `{"replicas":3}`, true); err != nil {
		t.Fatal(err)
	}
	k = k.restart(t, "coredns") // and disable beats .skip
	k.mustBeGone(t, "disabled")
	k.event(t, "coredns", "DeletingManifest", "coredns.yaml")
	if _, ok := k.addon(t, "coredns"); ok {
		t.Error("the AddOn is still there")
	}
	if _, err := os.Stat(k.file("coredns.yaml")); !os.IsNotExist(err) {
		t.Errorf("the file is still there: %v", err)
	}
	// Enabled again, the .skip that was left behind keeps coredns away.
	k = k.restart(t)
	k.mustBeGone(t, "with .skip left behind")
	if err := os.Remove(k.file("coredns.yaml.skip")); err != nil {
		t.Fatal(err)
	}
	k = k.restart(t)
	if d := k.coredns(t); *d.Spec.Replicas != 1 {
		t.Errorf("%d replicas outlived disable and enable", *d.Spec.Replicas)
	}
}

func TestPruneFalseKeepsAnObjectThroughDisable(t *testing.T) {
	k := fresh(t)
	services := k.client.CoreV1().Services("kube-system")
	label := `{"metadata":{"labels":{"objectset.rio.cattle.io/prune":"false"}}}`
	if _, err := services.Patch(context.Background(), "kube-dns", types.MergePatchType, []byte(label), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	before := k.service(t)
	k = k.restart(t) // the label survives a forced apply
	k = k.restart(t, "coredns")
	kept := k.service(t)
	k = k.restart(t)
	adopted := k.service(t)
	if kept.UID != before.UID || adopted.UID != before.UID || adopted.Spec.ClusterIP != before.Spec.ClusterIP {
		t.Error("the Service was replaced")
	}
	if adopted.Labels["objectset.rio.cattle.io/prune"] != "false" {
		t.Error("the label is gone")
	}
	unlabel := `{"metadata":{"labels":{"objectset.rio.cattle.io/prune":null}}}`
	if _, err := services.Patch(context.Background(), "kube-dns", types.MergePatchType, []byte(unlabel), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}
