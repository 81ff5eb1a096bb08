// SPDX-License-Identifier: GPL-3.0-or-later

package deploy_test

import (
	"context"
	"os"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const ownConfigMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: own, namespace: kube-system}\n"

func TestFileOfTheSameAddOnPrunesThePackagedObjects(t *testing.T) {
	k := fresh(t)
	k.write(t, "coredns.ha.yaml", ownConfigMap)
	k.pass(t)
	ctx := context.Background()
	if _, err := k.client.CoreV1().Services("kube-system").Get(ctx, "kube-dns", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("kube-dns: %v", err)
	}
	k.pass(t)
	if _, err := k.client.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("recreated before a restart: %v", err)
	}
	if err := os.Remove(k.file("coredns.ha.yaml")); err != nil {
		t.Fatal(err)
	}
	k.restart(t)
	k.coredns(t)
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
	k.write(t, "own.yaml", ownConfigMap)
	k.pass(t)
	good, _ := k.addon(t, "own")

	// At run time only that file is tried again, and the old checksum stays.
	k.write(t, "own.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NOT_VALID, namespace: kube-system}\n")
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
