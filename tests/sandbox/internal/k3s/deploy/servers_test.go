// SPDX-License-Identifier: GPL-3.0-or-later

package deploy_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"k3s-ha.core/sandbox/internal/k3s/deploy"
)

// Every server runs a deploy loop of its own over manifests of its own.

const broken = "a: [\n"

// peer is a start of another server, before its loop's first pass.
func (c *cluster) peer(t *testing.T, dir string, disable ...string) *k3s {
	t.Helper()
	if err := deploy.Stage(dir, deploy.Values{ClusterDNS: []netip.Addr{netip.MustParseAddr("10.43.0.10")}, ClusterDomain: "cluster.local", LocalStoragePath: "/storage"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"local-storage.yaml", "metrics-server", "rolebindings.yaml"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	disabled := map[string]bool{}
	for _, d := range disable {
		disabled[d] = true
	}
	ctl, err := deploy.New(c.cfg, "server-2", dir, disabled, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	return &k3s{c, dir, ctl}
}

// first is the forced pass of a start.
func (k *k3s) first(t *testing.T) {
	t.Helper()
	if err := k.deploy.Pass(context.Background(), true); err != nil {
		t.Fatal(err)
	}
}

// upgrade gives a server the manifest of a later release.
func (k *k3s) upgrade(t *testing.T) {
	t.Helper()
	k.write(t, "coredns.yaml", strings.Replace(k.read(t, "coredns.yaml"), "rancher/mirrored-coredns-coredns:", "rancher/mirrored-coredns-coredns:next-", 1))
}

func (c *cluster) image(t *testing.T) string {
	t.Helper()
	return c.coredns(t).Spec.Template.Spec.Containers[0].Image
}

func (c *cluster) mustRun(t *testing.T, what, mark string, want bool) {
	t.Helper()
	if image := c.image(t); strings.Contains(image, mark) != want {
		t.Errorf("%s: image %s", what, image)
	}
}

func (c *cluster) versions(t *testing.T) string {
	t.Helper()
	d := c.coredns(t)
	return fmt.Sprint(d.Generation, d.ResourceVersion, c.service(t).ResourceVersion, c.configMap(t).ResourceVersion)
}

func TestTwoServersOfOneReleaseDoNotFight(t *testing.T) {
	k := fresh(t)
	before := k.versions(t)
	other := k.peer(t, t.TempDir())
	other.first(t)
	k.pass(t)
	k.restart(t)
	other.pass(t)
	if after := k.versions(t); after != before {
		t.Errorf("%s became %s", before, after)
	}
}

func TestOfTwoReleasesTheOneStartedLastWins(t *testing.T) {
	k := fresh(t)
	if err := k.deployment(t, `{"minReadySeconds":3}`, false); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	other := k.peer(t, dir)
	other.upgrade(t)
	other.first(t)
	k.mustRun(t, "the later release started last", "next-", true)
	k.pass(t)
	k.mustRun(t, "and the other looked again", "next-", true)
	k = k.restart(t)
	k.mustRun(t, "the earlier release started last", "next-", false)
	other.pass(t)
	k.mustRun(t, "and the later one looked again", "next-", false)
	if d := k.coredns(t); d.Spec.MinReadySeconds != 3 {
		t.Errorf("minReadySeconds %d: a durable field was lost", d.Spec.MinReadySeconds)
	}
}

func TestTwoReleasesFlipWhileEachHasABrokenManifest(t *testing.T) {
	k := fresh(t)
	k.write(t, "own.yaml", broken)
	k = k.begin(t)
	other := k.peer(t, t.TempDir())
	other.upgrade(t)
	other.write(t, "own.yaml", broken)
	for range 2 {
		if err := k.deploy.Pass(context.Background(), true); err == nil {
			t.Fatal("no error")
		}
		k.mustRun(t, "a pass of the earlier release", "next-", false)
		if err := other.deploy.Pass(context.Background(), true); err == nil {
			t.Fatal("no error")
		}
		k.mustRun(t, "a pass of the later release", "next-", true)
	}
}

// A server without the .skip sets contested fields back once at each of its
// starts; while one of its manifests is broken, with each pass.
func TestSkipOnOneServerOnly(t *testing.T) {
	k := fresh(t)
	k.write(t, "coredns.yaml.skip", "")
	edit := func() {
		t.Helper()
		if err := k.deployment(t, pod(image), true); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	edit()
	k = k.restart(t)
	k.mustRun(t, "a start of the server with .skip", "example.org", true)
	other := k.peer(t, dir)
	other.first(t)
	k.mustRun(t, "a start of the server without", "example.org", false)
	edit()
	other.pass(t)
	k.mustRun(t, "a later pass of it", "example.org", true)
	other = k.peer(t, dir)
	other.first(t)
	k.mustRun(t, "another start of it", "example.org", false)

	other = k.peer(t, dir)
	other.write(t, "own.yaml", broken)
	for range 2 {
		edit()
		if err := other.deploy.Pass(context.Background(), true); err == nil {
			t.Fatal("no error")
		}
		k.mustRun(t, "a pass of it beside a broken manifest", "example.org", false)
	}
}

// One server with --disable deletes the component for all, and only the start of
// one without brings it back.
func TestDisableOnOneServerOnly(t *testing.T) {
	k := fresh(t)
	other := k.peer(t, t.TempDir(), "coredns")
	other.first(t)
	k.mustBeGone(t, "disabled by the other server")
	k.pass(t)
	k.mustBeGone(t, "this server looked again")
	k = k.restart(t)
	k.six(t)
	other.pass(t)
	k.six(t) // its file is gone: it has nothing more to delete
}

// If the release changes while .skip is there, taking it away is enough.
func TestReleaseThatChangedUnderSkip(t *testing.T) {
	k := fresh(t)
	k.write(t, "coredns.yaml.skip", "")
	if err := k.deployment(t, pod(image), true); err != nil {
		t.Fatal(err)
	}
	k = k.begin(t)
	k.upgrade(t)
	k.first(t)
	k.mustRun(t, "an upgrade under .skip", "example.org", true)
	if err := os.Remove(k.file("coredns.yaml.skip")); err != nil {
		t.Fatal(err)
	}
	k.pass(t)
	k.mustRun(t, "without .skip", "next-", true)
}

// declare gives coredns's manifest a line more, behind the one line that is given
// without its indentation.
func declare(t *testing.T, k *k3s, behind, line string) {
	t.Helper()
	var lines []string
	found := 0
	for l := range strings.Lines(k.read(t, "coredns.yaml")) {
		lines = append(lines, l)
		if strings.TrimSpace(l) == behind {
			found++
			lines = append(lines, l[:strings.Index(l, behind)]+line+"\n")
		}
	}
	if found != 1 {
		t.Fatalf("the manifest has %q %d times", behind, found)
	}
	k.write(t, "coredns.yaml", strings.Join(lines, ""))
}

// What survives an upgrade "unless the new manifest declares it": then it is
// reset, and our unforced apply conflicts.
func TestFieldsThatAReleaseDeclares(t *testing.T) {
	rack := func(d *appsv1.Deployment) string {
		var entries []string
		for _, c := range d.Spec.Template.Spec.TopologySpreadConstraints {
			if c.TopologyKey == "example.org/rack" {
				entries = append(entries, fmt.Sprint(c.WhenUnsatisfiable, " ", c.MaxSkew))
			}
		}
		return strings.Join(entries, ", ")
	}
	for _, row := range []struct {
		name, spec         string
		behind, line       string // in the new manifest
		read               func(*appsv1.Deployment) string
		applied, afterward string
	}{
		{
			"replicas", `{"replicas":3}`, "revisionHistoryLimit: 0", "replicas: 2",
			func(d *appsv1.Deployment) string { return fmt.Sprint(*d.Spec.Replicas) }, "3", "2",
		},
		{
			"maxSurge", `{"strategy":{"rollingUpdate":{"maxSurge":1}}}`, "maxUnavailable: 1", "maxSurge: 2",
			func(d *appsv1.Deployment) string { return d.Spec.Strategy.RollingUpdate.MaxSurge.String() }, "1", "2",
		},
		{
			"terminationGracePeriodSeconds", pod(`{"terminationGracePeriodSeconds":40}`),
			"dnsPolicy: Default", "terminationGracePeriodSeconds: 20",
			func(d *appsv1.Deployment) string {
				return fmt.Sprint(*d.Spec.Template.Spec.TerminationGracePeriodSeconds)
			}, "40", "20",
		},
		{
			"a spread entry with another key", spreadEntryFor("example.org/rack", "ScheduleAnyway", whole),
			"topologySpreadConstraints:", "- {maxSkew: 2, topologyKey: example.org/rack, whenUnsatisfiable: ScheduleAnyway}",
			rack, "ScheduleAnyway 1", "ScheduleAnyway 2",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			k := fresh(t)
			if err := k.deployment(t, row.spec, true); err != nil {
				t.Fatal(err)
			}
			if got := row.read(k.coredns(t)); got != row.applied {
				t.Fatalf("applied: %s", got)
			}
			declare(t, k, row.behind, row.line)
			k.pass(t)
			if got := row.read(k.coredns(t)); got != row.afterward {
				t.Errorf("after the upgrade: %s", got)
			}
			if err := k.deployment(t, row.spec, false); !apierrors.IsConflict(err) {
				t.Errorf("our unforced apply: %v", err)
			}
		})
	}
}

// A release that no longer declares replicas, as local-path-provisioner's and
// metrics-server's did from one release on, resets them once: the field left the
// manifest. From then on they are kept.
func TestReplicasThatAReleaseNoLongerDeclares(t *testing.T) {
	k := fresh(t)
	declare(t, k, "revisionHistoryLimit: 0", "replicas: 1")
	k.pass(t)
	if err := k.deployment(t, `{"replicas":3}`, true); err != nil {
		t.Fatal(err)
	}
	k = k.restart(t)
	if n := *k.coredns(t).Spec.Replicas; n != 1 {
		t.Errorf("%d replicas after the release that drops the field", n)
	}
	if err := k.deployment(t, `{"replicas":3}`, true); err != nil {
		t.Fatal(err)
	}
	k.restart(t)
	if n := *k.coredns(t).Spec.Replicas; n != 3 {
		t.Errorf("%d replicas after the next start", n)
	}
}

func TestFieldThatLeftTheManifestIsRemoved(t *testing.T) {
	k := fresh(t)
	declare(t, k, "revisionHistoryLimit: 0", "minReadySeconds: 7")
	k.pass(t)
	if n := k.coredns(t).Spec.MinReadySeconds; n != 7 {
		t.Fatalf("minReadySeconds %d", n)
	}
	k = k.restart(t)
	if n := k.coredns(t).Spec.MinReadySeconds; n != 0 {
		t.Errorf("minReadySeconds %d", n)
	}
}
