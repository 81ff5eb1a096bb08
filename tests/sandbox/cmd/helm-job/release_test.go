// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/action"
	chartcommon "helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	kubefake "helm.sh/helm/v4/pkg/kube/fake"
	"helm.sh/helm/v4/pkg/release/common"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"
)

// packed is a chart of one file.
func packed(t *testing.T, name, text string) string {
	t.Helper()
	var buffer bytes.Buffer
	zip := gzip.NewWriter(&buffer)
	archive := tar.NewWriter(zip)
	err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))})
	if err == nil {
		_, err = archive.Write([]byte(text))
	}
	if err := errors.Join(err, archive.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(buffer.Bytes())
}

// configuration is helm's over memory, and over a server that takes everything, or fails once objects are there.
func configuration(fails bool) *action.Configuration {
	server := &kubefake.FailingKubeClient{PrintingKubeClient: kubefake.PrintingKubeClient{Out: io.Discard}}
	if fails {
		server.WaitError = errors.New("refused")
	}
	cfg := action.NewConfiguration()
	cfg.Releases, cfg.KubeClient = storage.Init(driver.NewMemory()), server
	cfg.Capabilities = chartcommon.DefaultCapabilities
	return cfg
}

var simple = input{chart: &chart.Chart{
	Metadata: &chart.Metadata{APIVersion: "v2", Name: "simple", Version: "0.1.0"},
	Templates: []*chartcommon.File{{
		Name: "templates/map.yaml", Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: simple}\n"),
	}},
}}

// What becomes of a release, by how it is found, by the policy on failure, and by whether the server refuses.
func TestPolicies(t *testing.T) {
	const (
		nothing  = common.Status("")
		deployed = common.StatusDeployed
		failed   = common.StatusFailed
	)
	for name, row := range map[string]struct {
		policy   string
		found    common.Status
		expected int // revision
		refuses  bool

		status   common.Status
		revision int
		err      string
	}{
		"first install":                        {"retry", nothing, 0, false, deployed, 1, ""},
		"first install fails, abort":           {"abort", nothing, 0, true, failed, 1, "install of simple"},
		"first install fails, retry":           {"retry", nothing, 0, true, failed, 1, ""},
		"upgrade":                              {"abort", deployed, 1, false, deployed, 2, ""},
		"upgrade fails, reinstall":             {"reinstall", deployed, 1, true, failed, 2, "upgrade of simple"},
		"upgrade fails, retry":                 {"retry", deployed, 1, true, failed, 2, ""},
		"after a failure, abort":               {"abort", failed, 1, false, failed, 1, "waits for somebody"},
		"after a failure, retry":               {"retry", failed, 1, false, deployed, 2, ""},
		"after a failure, reinstall":           {"reinstall", failed, 1, false, deployed, 1, ""},
		"upgrade was interrupted":              {"abort", common.StatusPendingUpgrade, 1, false, deployed, 2, ""},
		"install was interrupted, reinstall":   {"reinstall", common.StatusPendingInstall, 1, false, deployed, 1, ""},
		"install was interrupted, retry":       {"retry", common.StatusPendingInstall, 1, false, deployed, 2, ""},
		"made for an earlier revision":         {"retry", deployed, 0, false, deployed, 1, ""},
		"made for a later revision, reinstall": {"reinstall", failed, 2, false, failed, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configuration(row.refuses)
			j := job{
				name: "simple", namespace: "default", policy: row.policy, revision: row.expected, hash: "NEW",
				timeout: time.Second,
			}
			if row.found != nothing {
				old := &release.Release{
					Name: "simple", Namespace: "default", Version: 1, Chart: simple.chart.(*chart.Chart),
					Info: &release.Info{Status: row.found}, Labels: map[string]string{hashLabel: "OLD"}, Manifest: "kind: ConfigMap",
				}
				if err := cfg.Releases.Create(old); err != nil {
					t.Fatal(err)
				}
			}
			err := j.install(cfg, simple)
			if (err == nil) != (row.err == "") || err != nil && !strings.Contains(err.Error(), row.err) {
				t.Errorf("error %v, want %q", err, row.err)
			}
			after, err := last(cfg, "simple")
			if err != nil || after == nil {
				t.Fatal(after, err)
			}
			if after.Info.Status != row.status || after.Version != row.revision {
				t.Errorf("%s at %d", after.Info.Status, after.Version)
			}
			hash := "NEW"
			if row.expected != 1 && row.found != nothing || strings.Contains(row.err, "waits") {
				hash = "OLD" // nothing was done
			}
			if after.Labels[hashLabel] != hash {
				t.Errorf("labels %v", after.Labels)
			}
		})
	}
}

func TestForces(t *testing.T) {
	serverSide := &release.Release{ApplyMethod: string(release.ApplyMethodServerSideApply)}
	clientSide := &release.Release{ApplyMethod: string(release.ApplyMethodClientSideApply)}
	for _, row := range []struct {
		apply  string
		before *release.Release
		forces bool
	}{
		{"auto", serverSide, true}, {"auto", clientSide, false}, {"auto", &release.Release{}, false}, {"", serverSide, true},
		{"true", clientSide, true}, {"false", serverSide, false},
	} {
		if got := (job{apply: row.apply, force: true}).forces(row.before); got != row.forces {
			t.Errorf("%q after %q: %v", row.apply, row.before.ApplyMethod, got)
		}
		if (job{apply: row.apply}).forces(row.before) {
			t.Errorf("%q after %q: forces without being told to", row.apply, row.before.ApplyMethod)
		}
	}
}

func TestUninstall(t *testing.T) {
	cfg := configuration(false)
	j := job{name: "simple", namespace: "default", policy: "retry", timeout: time.Second}
	if err := j.uninstall(cfg); err != nil {
		t.Errorf("a release that is not there: %v", err)
	}
	if err := j.install(cfg, simple); err != nil {
		t.Fatal(err)
	}
	if err := j.uninstall(cfg); err != nil {
		t.Error(err)
	}
	if r, err := last(cfg, "simple"); r != nil || err != nil {
		t.Errorf("left: %v %v", r, err)
	}
}
