// SPDX-License-Identifier: GPL-3.0-or-later

package deploy_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const ownConfigMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: own, namespace: kube-system}\n"

// configMapText is a ConfigMap's document of a manifest.
func configMapText(name, state string) string {
	const metadata = "metadata: {name: %s, namespace: kube-system}\n"
	return fmt.Sprintf("---\napiVersion: v1\nkind: ConfigMap\n"+metadata+"data: {state: %q}\n", name, state)
}

func TestFileOfTheSameAddOnPrunesThePackagedObjects(t *testing.T) {
	k := fresh(t)
	k.six(t)
	k.write(t, "coredns.ha.yaml", ownConfigMap)
	k.pass(t)
	k.mustBeGone(t, "pruned")
	k.pass(t)
	k.mustBeGone(t, "not before a restart")
	if err := os.Remove(k.file("coredns.ha.yaml")); err != nil {
		t.Fatal(err)
	}
	k.restart(t)
	k.six(t)
}

func TestDeletingAFileDeletesNothing(t *testing.T) {
	k := fresh(t)
	k.write(t, "own.yaml", ownConfigMap)
	k.pass(t)
	if err := os.Remove(k.file("own.yaml")); err != nil {
		t.Fatal(err)
	}
	k.pass(t)
	if _, err := k.client.CoreV1().ConfigMaps("kube-system").Get(context.Background(), "own", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	if _, ok := k.addon(t, "own"); !ok {
		t.Error("the AddOn is gone")
	}
}

func TestBrokenManifest(t *testing.T) {
	ctx := context.Background()
	k := fresh(t)
	k.write(t, "own.yaml", ownConfigMap+configMapText("neighbour", "old"))
	k.pass(t)
	good, _ := k.addon(t, "own")

	// At run time only that file is tried again, and the old checksum stays.
	k.write(t, "own.yaml", configMapText("NOT_VALID", "new")+configMapText("neighbour", "new"))
	for range 2 {
		before := k.writes.Load()
		if err := k.deploy.Pass(ctx, false); err == nil {
			t.Error("no error")
		}
		if n := k.writes.Load() - before; n > 3 {
			t.Errorf("%d writes for one file", n)
		}
	}
	if sum, _ := k.addon(t, "own"); sum != good {
		t.Errorf("checksum %q, was %q", sum, good)
	}
	k.event(t, "own", "ApplyManifestFailed", "NOT_VALID")

	// A file is not applied as a whole: what left it is pruned and what is good of
	// it applied, though one object failed.
	configMaps := k.client.CoreV1().ConfigMaps("kube-system")
	if _, err := configMaps.Get(ctx, "own", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("what left the file: %v", err)
	}
	if cm, err := configMaps.Get(ctx, "neighbour", metav1.GetOptions{}); err != nil || cm.Data["state"] != "new" {
		t.Errorf("what is good of it: %v, %v", cm.Data, err)
	}

	k.write(t, "own.yaml", "a: [\n")
	if err := k.deploy.Pass(ctx, false); err == nil {
		t.Error("no error")
	}
	k.event(t, "own", "ParseManifestFailed", "own.yaml")

	// At a start the other files are applied all the same, each time.
	edited := pod(image)
	k = k.begin(t)
	for range 2 {
		if err := k.deployment(t, edited, true); err != nil {
			t.Fatal(err)
		}
		if err := k.deploy.Pass(ctx, true); err == nil {
			t.Error("no error")
		}
		if d := k.coredns(t); strings.Contains(d.Spec.Template.Spec.Containers[0].Image, "example.org") {
			t.Error("not set back by a forced pass beside a broken file")
		}
	}
}

// looked waits until the running loop has gone over all files once since now: in
// the order of names before.yaml comes first, and it is seen applied twice.
func (k *k3s) looked(t *testing.T) {
	t.Helper()
	configMaps := k.client.CoreV1().ConfigMaps("kube-system")
	for range 2 {
		mark := touched.String()
		k.write(t, "before.yaml", configMapText("before", mark))
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			cm, err := configMaps.Get(context.Background(), "before", metav1.GetOptions{})
			if err == nil && cm.Data["state"] == mark {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("the loop does not apply before.yaml: %v", err)
			}
		}
	}
}

// The loop itself, at a higher rate: a file that is broken at the start keeps its
// passes forced until it is mended, and one that breaks later does not.
func TestLoopWithABrokenManifest(t *testing.T) {
	k := fresh(t)
	k.write(t, "own.yaml", broken)
	k = k.begin(t)
	k.deploy.Period = 100 * time.Millisecond
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); k.deploy.Run(ctx) }()
	defer func() { cancel(); <-done }()
	edit := func() {
		t.Helper()
		if err := k.deployment(t, pod(image), true); err != nil {
			t.Fatal(err)
		}
	}

	<-k.deploy.Passed()
	versions := k.versions(t)
	k.looked(t)
	k.looked(t)
	if after := k.versions(t); after != versions {
		t.Errorf("while nobody edits, %s became %s", versions, after)
	}
	for range 2 {
		edit()
		k.looked(t)
		k.mustRun(t, "an edit while a file is broken since the start", "example.org", false)
	}

	k.write(t, "own.yaml", ownConfigMap)
	// The pass that applies the mended file is forced, and one more is if it met a conflict.
	for end := time.Now().Add(time.Minute); ; {
		edit()
		k.looked(t)
		if strings.Contains(k.image(t), "example.org") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("passes are forced after the file was mended")
		}
	}
	if sum, _ := k.addon(t, "own"); sum == "" {
		t.Error("the mended file was not applied")
	}
	k.write(t, "own.yaml", broken)
	k.looked(t) // finds it broken
	k.looked(t) // and what follows
	k.mustRun(t, "an edit, then a file that breaks at run time", "example.org", true)
}
