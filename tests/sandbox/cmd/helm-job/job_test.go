// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v4/pkg/cli"
)

// environment is what helm-controller gives a job, but for what a test changes.
func environment(changed map[string]string) func(string) string {
	all := map[string]string{
		"NAME": "traefik", "TARGET_NAMESPACE": "kube-system", "CHART": "", "REPO": "", "VERSION": "", "HELM_DRIVER": "secret",
		"AUTH_PASS_CREDENTIALS": "false", "INSECURE_SKIP_TLS_VERIFY": "false", "PLAIN_HTTP": "false",
		"FAILURE_POLICY": "retry", "SERVER_SIDE": "auto", "FORCE_CONFLICTS": "true",
		"EXPECTED_RELEASE_REVISION": "3", "CONFIG_HASH": "ABC",
		"KUBERNETES_SERVICE_HOST": "fd00:43::1", "KUBERNETES_SERVICE_PORT": "443",
	}
	for name, value := range changed {
		all[name] = value
	}
	return func(name string) string { return all[name] }
}

func TestParse(t *testing.T) {
	args := []string{
		"install", "--namespace", "elsewhere", "--create-namespace",
		"--set", "a=1", "--set-string", "b=x,y", "--set", "c=true",
	}
	got, err := parse(args, environment(map[string]string{"TIMEOUT": "30s"}))
	want := job{
		name: "traefik", namespace: "elsewhere", policy: "retry", apply: "auto", force: true, revision: 3, hash: "ABC",
		timeout: 30 * time.Second, createNamespace: true, set: []string{"a=1", "c=true"}, setString: []string{"b=x,y"},
		server: "[fd00:43::1]:443",
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
	if got, err := parse([]string{"delete"}, environment(nil)); err != nil || !got.remove {
		t.Errorf("delete: %v, %+v", err, got)
	}
}

func TestParseRefuses(t *testing.T) {
	for want, bad := range map[string]struct {
		args []string
		env  map[string]string
	}{
		"the first argument must be":            {nil, nil},
		`the arguments are ["test"]`:            {[]string{"test"}, nil},
		"-no-such":                              {[]string{"install", "--no-such"}, nil},
		`unexpected arguments ["x"]`:            {[]string{"install", "x"}, nil},
		`EXPECTED_RELEASE_REVISION is "x"`:      {[]string{"install"}, map[string]string{"EXPECTED_RELEASE_REVISION": "x"}},
		`TIMEOUT is "x"`:                        {[]string{"install"}, map[string]string{"TIMEOUT": "x"}},
		`FORCE_CONFLICTS is "x"`:                {[]string{"install"}, map[string]string{"FORCE_CONFLICTS": "x"}},
		"NAME and TARGET_NAMESPACE must be set": {[]string{"install"}, map[string]string{"NAME": ""}},
	} {
		_, err := parse(bad.args, environment(bad.env))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v %v: %v, want %s", bad.args, bad.env, err, want)
		}
	}
}

func writeChart(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "traefik.tgz.base64"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Files of values are merged by name, maps into each other and lists in the place of others; what --set says beats all.
func TestInput(t *testing.T) {
	config, charts := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{
		"values-0-000-HelmChart-ValuesContent.yaml":       "deployment: {replicas: 1, kind: D}\ntolerations: [a, b]\n",
		"values-0-001-HelmChart-Values.yaml":              "deployment: {replicas: 2}\n",
		"values-1-000-HelmChartConfig-ValuesContent.yaml": "deployment: {replicas: 3}\nextra: content\n",
		"values-1-001-HelmChartConfig-Values.yaml":        "deployment: {replicas: 4}\ntolerations: [c]\nset: file\n",
		"ca-file.pem": "no values",
	} {
		if err := os.WriteFile(filepath.Join(config, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j := job{name: "traefik", set: []string{"n=5"}, setString: []string{"set=yes"}}
	if _, err := j.input(cli.New(), config, charts); err == nil || !strings.Contains(err.Error(), "spec.chartContent") {
		t.Errorf("no chart: %v", err)
	}
	writeChart(t, charts, "no base64!")
	if _, err := j.input(cli.New(), config, charts); err == nil || !strings.Contains(err.Error(), "not base64") {
		t.Errorf("no base64: %v", err)
	}
	writeChart(t, charts, packed(t, "traefik/Chart.yaml", "apiVersion: v2\nname: traefik\nversion: 0.1.0\n")+"\n")
	in, err := j.input(cli.New(), config, charts)
	want := map[string]any{
		"deployment":  map[string]any{"replicas": 4.0, "kind": "D"},
		"tolerations": []any{"c"}, "extra": "content", "set": "yes", "n": int64(5),
	}
	if err != nil || in.chart == nil || !reflect.DeepEqual(in.values, want) {
		t.Errorf("%v, chart %v\n got %#v\nwant %#v", err, in.chart, in.values, want)
	}
}
