// SPDX-License-Identifier: GPL-3.0-or-later

package build

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k3s-ha.core/sandbox/internal/failure"
	"k3s-ha.core/sandbox/internal/state"
	"k3s-ha.core/sandbox/versions"
)

func TestStagingReplaces(t *testing.T) {
	const goMod = `module k8s.io/kubernetes
require k8s.io/klog/v2 v2.140.0
replace (
	k8s.io/kubectl => ./staging/src/k8s.io/kubectl
	k8s.io/api => ./staging/src/k8s.io/api
)
replace k8s.io/kms => ./staging/src/k8s.io/kms
`
	got, err := stagingReplaces(goMod, "1.36.3", map[string]string{"k8s.io/kms": "0.36.2"})
	want := "replace k8s.io/api => k8s.io/api v0.36.3\nreplace k8s.io/kms => k8s.io/kms v0.36.2\nreplace k8s.io/kubectl => k8s.io/kubectl v0.36.3\n"
	if err != nil || got != want {
		t.Errorf("%v\n%s", err, got)
	}
	if _, err := stagingReplaces("module x\n", "1.36.3", nil); err == nil {
		t.Error("a go.mod without staging modules")
	}
}

// Kubernetes shares what it is made of with our own programs, and so takes theirs: they must be made for its release.
func TestOwnLibrariesAreOfTheDefaultRelease(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, minorAndPatch, _ := strings.Cut(versions.Current().Kubernetes, ".")
	for _, name := range []string{"api", "apimachinery", "client-go"} {
		if line := "\tk8s.io/" + name + " v0." + minorAndPatch + "\n"; !strings.Contains(requirements(string(mod)), line) {
			t.Errorf("go.mod does not require%s", line)
		}
	}
	b := &Builder{release: versions.Current(), libraries: requirements(string(mod))}
	if kubernetes, coreDNS, _ := b.kubernetesModules(); kubernetes.text() != coreDNS.text() || !strings.Contains(kubernetes.text(), b.libraries) {
		t.Errorf("not one module:\n%s%s", kubernetes.text(), coreDNS.text())
	}
	if b.release, err = versions.Find("1.31"); err != nil {
		t.Fatal(err)
	}
	if kubernetes, _, _ := b.kubernetesModules(); strings.Contains(kubernetes.text(), b.libraries) {
		t.Errorf("1.31 is given newer libraries than its own:\n%s", kubernetes.text())
	}
}

func TestFirstMirror(t *testing.T) {
	for text, want := range map[string]string{
		"# deb http://no\ndeb [signed-by=/k] http://mirror.example/debian bookworm main\n":                                     "http://mirror.example/debian",
		"deb http://security.example/debian-security x main\ndeb http://a.example/debian x main\n":                             "http://a.example/debian",
		"Types: deb\nURIs: http://security.example/debian-security\n\nTypes: deb\nURIs: https://b.example/debian\nSuites: x\n": "https://b.example/debian",
		"Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\n":                                                       "",
		"": "",
	} {
		if got := firstMirror(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

func TestArchivesAreReproducible(t *testing.T) {
	program := filepath.Join(t.TempDir(), "pause")
	if err := os.WriteFile(program, []byte("\x7fELF"), 0o755); err != nil {
		t.Fatal(err)
	}
	i := image{"pause", "registry.example/pause:1", "pause", "1000", imagesDir}
	var archives [2][]byte
	for n := range archives {
		path := filepath.Join(t.TempDir(), "pause.tar")
		if err := i.write(path, program); err != nil {
			t.Fatal(err)
		}
		var err error
		if archives[n], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two archives of one program differ")
	}
	for _, part := range []string{`"RepoTags":["registry.example/pause:1"]`, `"User":"1000"`} {
		if !bytes.Contains(archives[0], []byte(part)) {
			t.Errorf("the archive lacks %s", part)
		}
	}
}

func TestEntriesAreKeyedByTheirInputs(t *testing.T) {
	if digest("a", "bc") == digest("ab", "c") {
		t.Error("the border between two inputs does not count")
	}
	older, err := versions.Find("1.35")
	if err != nil {
		t.Fatal(err)
	}
	b, other := &Builder{release: versions.Current()}, &Builder{release: older}
	if b.path(b.kube()) == other.path(other.kube()) {
		t.Error("two releases of Kubernetes share an entry")
	}
	names := map[string]bool{}
	for _, c := range b.components() {
		if names[c.name] {
			t.Errorf("%s twice", c.name)
		}
		names[c.name] = true
	}
}

// A failed build leaves nothing that could be taken for a result.
func TestNeed(t *testing.T) {
	b := &Builder{cache: t.TempDir()}
	fails := true
	e := entry{name: "thing", inputs: []string{"1"}, make: func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, "thing"), nil, 0o644); err != nil {
			return err
		}
		if fails {
			return os.ErrInvalid
		}
		return nil
	}}
	if _, err := b.need(e); failure.Exit(err) != failure.Build || b.has(e) {
		t.Errorf("failed build: %v, kept: %v", err, b.has(e))
	}
	fails = false
	if dir, err := b.need(e); err != nil || dir != b.path(e) || !b.has(e) {
		t.Errorf("build: %s %v", dir, err)
	}
	left, err := filepath.Glob(filepath.Join(b.cache, ".making-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

func TestRealK3sMustBeAProgram(t *testing.T) {
	t.Setenv("K3S_CORE_HA_CACHE", t.TempDir())
	if _, err := New(versions.Current(), filepath.Join(t.TempDir(), "none")); failure.Exit(err) != failure.Usage {
		t.Errorf("a k3s that is not there: %v", err)
	}
}

// A real k3s, played by a script, takes the place of every program that the sandbox builds.
func TestRealK3sIsTheBundle(t *testing.T) {
	t.Setenv("K3S_CORE_HA_CACHE", t.TempDir())
	release := t.TempDir()
	real, images := filepath.Join(release, "k3s"), "k3s-airgap-images-amd64.tar.zst"
	if err := os.WriteFile(real, []byte("#!/bin/sh\necho real \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(release, images), []byte("images"), 0o644); err != nil {
		t.Fatal(err)
	}
	everything := func() Result {
		t.Helper()
		b, err := New(versions.Current(), real)
		if err != nil {
			t.Fatal(err)
		}
		// The nodes' system is the same as ever, and is not built here.
		if err := os.MkdirAll(b.path(b.base()), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := b.need(b.bundle(b.base(), nil)); err != nil {
			t.Fatal(err)
		}
		made, err := b.Everything()
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	made := everything()
	out, err := exec.Command(made.Kubectl[0], append(made.Kubectl[1:], "version")...).Output()
	if err != nil || string(out) != "real kubectl version\n" {
		t.Errorf("kubectl of the bundle: %q, %v", out, err)
	}
	if text, err := os.ReadFile(filepath.Join(made.Bundle, imagesDir, images)); err != nil || string(text) != "images" {
		t.Errorf("images beside it: %q, %v", text, err)
	}
	programs, err := os.ReadDir(filepath.Join(made.Bundle, "bin"))
	if err != nil || len(programs) != 1 {
		t.Errorf("programs beside it: %v, %v", programs, err)
	}

	// Another program of the same path is another bundle.
	if err := os.WriteFile(real, []byte("#!/bin/sh\necho later \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if later := everything(); later.Bundle == made.Bundle {
		t.Error("a later k3s in its place gets the earlier one's bundle")
	}
}

func TestPrune(t *testing.T) {
	t.Setenv("SANDBOX_DIR", t.TempDir())
	cache := t.TempDir()
	long := time.Now().Add(-2 * keep)
	for _, name := range []string{"k3s-1", "k3s-2"} {
		if err := os.Mkdir(filepath.Join(cache, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(cache, name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	if err := touch([]string{filepath.Join(cache, "k3s-2"), filepath.Join(cache, "never-built")}); err != nil {
		t.Fatal(err)
	}
	running, err := state.New("unit", "single")
	if err != nil {
		t.Fatal(err)
	}
	if err := running.Save(); err != nil {
		t.Fatal(err)
	}
	left := func() int {
		if err := prune(cache); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(cache)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	if n := left(); n != 2 {
		t.Errorf("while a cluster runs: %d entries", n)
	}
	if err := os.RemoveAll(running.Dir); err != nil {
		t.Fatal(err)
	}
	if n := left(); n != 1 {
		t.Errorf("%d entries", n)
	}
}
