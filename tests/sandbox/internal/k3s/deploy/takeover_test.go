// SPDX-License-Identifier: GPL-3.0-or-later

package deploy_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Taking over the packaged objects by a file of one's own: each row of the table.

const ownerName = "objectset.rio.cattle.io/owner-name"

// ownFile is the packaged manifest with another image; without its addresses the
// Service does not name what the live one has.
func ownFile(t *testing.T, k *k3s, addresses bool) string {
	t.Helper()
	text := strings.Replace(k.read(t, "coredns.yaml"), "rancher/mirrored-coredns-coredns:", "rancher/mirrored-coredns-coredns:own-", 1)
	if addresses {
		return text
	}
	var kept []string
	for _, line := range strings.Split(text, "\n") {
		name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "clusterIP" || name == "clusterIPs" || name == "ipFamilyPolicy" {
			continue
		}
		kept = append(kept, line)
	}
	if strings.Join(kept, "\n") == text {
		t.Fatal("the manifest's Service names no address")
	}
	return strings.Join(kept, "\n")
}

// packaged is the metadata of those of coredns's six objects that are there.
func (c *cluster) packaged(t *testing.T) map[string]metav1.ObjectMeta {
	t.Helper()
	rbac := rbacv1.SchemeGroupVersion
	there := map[string]metav1.ObjectMeta{}
	for kind, o := range map[string]struct {
		resource        schema.GroupVersionResource
		namespace, name string
	}{
		"ServiceAccount":     {corev1.SchemeGroupVersion.WithResource("serviceaccounts"), "kube-system", "coredns"},
		"ClusterRole":        {rbac.WithResource("clusterroles"), "", "system:coredns"},
		"ClusterRoleBinding": {rbac.WithResource("clusterrolebindings"), "", "system:coredns"},
		"ConfigMap":          {corev1.SchemeGroupVersion.WithResource("configmaps"), "kube-system", "coredns"},
		"Deployment":         {appsv1.SchemeGroupVersion.WithResource("deployments"), "kube-system", "coredns"},
		"Service":            {corev1.SchemeGroupVersion.WithResource("services"), "kube-system", "kube-dns"},
	} {
		api := c.meta.Resource(o.resource).Namespace(o.namespace)
		object, err := api.Get(context.Background(), o.name, metav1.GetOptions{})
		if err == nil {
			there[kind] = object.ObjectMeta
		} else if !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	return there
}

// six are all of them.
func (c *cluster) six(t *testing.T) map[string]metav1.ObjectMeta {
	t.Helper()
	objects := c.packaged(t)
	if len(objects) != 6 {
		t.Fatalf("of six objects there are %v", slices.Collect(maps.Keys(objects)))
	}
	return objects
}

func (c *cluster) mustBeGone(t *testing.T, when string) {
	t.Helper()
	if left := c.packaged(t); len(left) > 0 {
		t.Errorf("%s: left are %v", when, slices.Collect(maps.Keys(left)))
	}
}

func uids(objects map[string]metav1.ObjectMeta) map[string]types.UID {
	all := map[string]types.UID{}
	for kind, o := range objects {
		all[kind] = o.UID
	}
	return all
}

func owners(objects map[string]metav1.ObjectMeta) map[string]string {
	all := map[string]string{}
	for kind, o := range objects {
		all[kind] = o.Annotations[ownerName]
	}
	return all
}

func all(owner string) map[string]string {
	return map[string]string{
		"ServiceAccount": owner, "ClusterRole": owner, "ClusterRoleBinding": owner, "ConfigMap": owner, "Deployment": owner, "Service": owner,
	}
}

func (k *k3s) failingPass(t *testing.T, force bool, text string) {
	t.Helper()
	if err := k.deploy.Pass(context.Background(), force); err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want an error with %q", err, text)
	}
}

// fight: with each pass the Deployment changes twice.
func (k *k3s) fight(t *testing.T) {
	t.Helper()
	k.failingPass(t, true, "already allocated")
	before := k.coredns(t)
	for range 2 {
		k.failingPass(t, true, "already allocated")
	}
	if after := k.coredns(t); after.Generation != before.Generation+4 {
		t.Errorf("generation %d became %d in two passes", before.Generation, after.Generation)
	}
}

// Rows one to three: the Service's address stands in the way of a file that
// names it; both files at a start fight; and disable then deletes the Service,
// which a file that was before it in the order of names makes in the next pass.
func TestOwnFileWithTheServicesAddress(t *testing.T) {
	k := fresh(t)
	before := k.six(t)
	k.write(t, "before.yaml", ownFile(t, k, true))
	for range 2 {
		k.failingPass(t, false, "already allocated")
	}
	want := all("before")
	want["Service"] = "coredns"
	if got := owners(k.six(t)); !maps.Equal(got, want) {
		t.Errorf("at run time: owners %v", got)
	}

	k = k.begin(t)
	k.fight(t)

	k = k.begin(t, "coredns")
	k.failingPass(t, true, "already allocated")
	if _, err := k.client.CoreV1().Services("kube-system").Get(context.Background(), "kube-dns", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after the first pass with disable: %v", err)
	}
	k.first(t)
	after := k.six(t)
	if after["Service"].UID == before["Service"].UID {
		t.Error("disable did not delete the Service")
	}
	if got := owners(after); !maps.Equal(got, all("before")) {
		t.Errorf("disabled: owners %v", got)
	}

	// The last row but one: enabled again with the own file still there.
	k = k.begin(t)
	k.fight(t)
}

// With the Service handed over by hand, file and disable in one restart delete
// nothing.
func TestServiceHandedOverByHand(t *testing.T) {
	k := fresh(t)
	k.write(t, "own.yaml", ownFile(t, k, true))
	k.failingPass(t, false, "already allocated")
	d := k.coredns(t)
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{
		"annotations": map[string]string{ownerName: "own"},
		"labels":      map[string]string{"objectset.rio.cattle.io/hash": d.Labels["objectset.rio.cattle.io/hash"]},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.client.CoreV1().Services("kube-system").Patch(context.Background(), "kube-dns", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	before := k.six(t)
	k = k.restart(t, "coredns")
	after := k.six(t)
	if !maps.Equal(uids(after), uids(before)) || !maps.Equal(owners(after), all("own")) {
		t.Errorf("uids %v were %v, owners %v", uids(after), uids(before), owners(after))
	}
	versions := k.versions(t)
	k.restart(t, "coredns")
	if v := k.versions(t); v != versions {
		t.Errorf("not stable: %s became %s", versions, v)
	}
}

// A file whose Service names no address adopts all six, and disable then deletes
// nothing.
func TestOwnFileWithoutAddresses(t *testing.T) {
	k := fresh(t)
	before := k.six(t)
	ip := k.service(t).Spec.ClusterIP
	k.write(t, "own.yaml", ownFile(t, k, false))
	k.pass(t)
	adopted := k.six(t)
	if !maps.Equal(uids(adopted), uids(before)) || !maps.Equal(owners(adopted), all("own")) || k.service(t).Spec.ClusterIP != ip {
		t.Errorf("uids %v were %v, owners %v", uids(adopted), uids(before), owners(adopted))
	}
	k = k.restart(t, "coredns")
	if after := k.six(t); !maps.Equal(uids(after), uids(before)) || k.service(t).Spec.ClusterIP != ip {
		t.Error("disable deleted something")
	}
}

// A file that comes in the same restart as disable, and after it in the order of
// names, finds everything deleted.
func TestOwnFileTogetherWithDisable(t *testing.T) {
	k := fresh(t)
	before := k.six(t)
	k.write(t, "own.yaml", ownFile(t, k, true))
	k = k.begin(t, "coredns")
	if err := k.deploy.Pass(context.Background(), true); err != nil {
		t.Logf("first pass: %v", err)
		k.first(t)
	}
	for kind, o := range k.six(t) {
		if o.UID == before[kind].UID {
			t.Errorf("%s was not deleted", kind)
		}
	}
}

// Two ports of one number are merged by it in a strategic patch: even the live
// object sent back whole is another one then, here one that is refused.
func TestStrategicPatchOfTheWholeDeploymentBreaksItsPorts(t *testing.T) {
	k := fresh(t)
	d := k.coredns(t)
	d.ManagedFields = nil
	body, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.client.AppsV1().Deployments("kube-system").Patch(context.Background(), "coredns", types.StrategicMergePatchType, body, metav1.PatchOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "dns-tcp") {
		t.Errorf("got %v", err)
	}
}

// The row of .skip: on every server, it leaves what replaces an object to itself
// and deletes nothing, over restarts too; a new server without it takes the
// replacement back at its start.
func TestObjectReplacedUnderSkip(t *testing.T) {
	k := fresh(t)
	other := k.peer(t, t.TempDir())
	k.write(t, "coredns.yaml.skip", "")
	other.write(t, "coredns.yaml.skip", "")
	before := uids(k.six(t))
	packaged := k.image(t)

	ctx := context.Background()
	deployments := k.client.AppsV1().Deployments("kube-system")
	replacement := k.coredns(t)
	replacement.ObjectMeta = metav1.ObjectMeta{Name: "coredns", Labels: map[string]string{"k8s-app": "kube-dns"}}
	replacement.Spec.Template.Spec.Containers[0].Image = "example.org/other:1"
	if err := deployments.Delete(ctx, "coredns", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	ours, err := deployments.Create(ctx, replacement, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	before["Deployment"] = ours.UID
	versions := k.versions(t)
	k.pass(t)
	k = k.restart(t)
	other.first(t)
	if after := k.versions(t); after != versions || !maps.Equal(uids(k.six(t)), before) {
		t.Errorf("versions %s became %s; uids %v were %v", versions, after, uids(k.six(t)), before)
	}

	k.peer(t, t.TempDir()).first(t)
	if image := k.image(t); image != packaged {
		t.Errorf("taken back it runs %s, not %s", image, packaged)
	}
	if after := k.six(t); !maps.Equal(uids(after), before) || !maps.Equal(owners(after), all("coredns")) {
		t.Errorf("uids %v were %v, owners %v", uids(after), before, owners(after))
	}
}
