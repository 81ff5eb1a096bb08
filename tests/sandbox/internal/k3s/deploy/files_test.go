// SPDX-License-Identifier: GPL-3.0-or-later

package deploy

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestScan(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"coredns.yaml", "coredns.yaml.skip", "local-storage.yaml", "own.json", "own.txt", ".hidden.yaml", "UPPER.YML",
		"metrics-server/metrics-server-deployment.yaml", "metrics-server/auth-reader.yaml", "auth-reader.yaml.skip",
		"metrics-server.skip", "a/b/deep.yaml", "coredns.ha.yaml",
		"metrics-server/metrics-apiservice.yaml", "metrics-server/metrics-apiservice.yaml.skip",
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		name     string
		disabled []string
		want     map[string]fate // files that are neither applied nor deleted are left out
	}{
		{
			"skip matches by bare file name, at top level and beside the file; a directory's does nothing", nil,
			map[string]fate{
				"UPPER.YML": apply, "a/b/deep.yaml": apply, "coredns.ha.yaml": apply, "local-storage.yaml": apply,
				"metrics-server/metrics-server-deployment.yaml": apply, "own.json": apply,
			},
		},
		{
			"disable goes by name without extension or by directory, and beats skip", []string{"coredns", "metrics-server", "b"},
			map[string]fate{
				"UPPER.YML": apply, "a/b/deep.yaml": apply, "coredns.ha.yaml": apply, "local-storage.yaml": apply, "own.json": apply,
				"coredns.yaml": disable, "metrics-server/auth-reader.yaml": disable,
				"metrics-server/metrics-server-deployment.yaml": disable,
				"metrics-server/metrics-apiservice.yaml":        disable, "metrics-server/metrics-apiservice.yaml.skip": disable,
			},
		},
		{
			"a nested directory is disabled by its path", []string{"a/b"},
			map[string]fate{
				"UPPER.YML": apply, "a/b/deep.yaml": disable, "coredns.ha.yaml": apply, "local-storage.yaml": apply,
				"metrics-server/metrics-server-deployment.yaml": apply, "own.json": apply,
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			disabled := map[string]bool{}
			for _, d := range test.disabled {
				disabled[d] = true
			}
			list, err := scan(dir, disabled)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]fate{}
			for i, m := range list {
				if i > 0 && list[i-1].path >= m.path {
					t.Errorf("%s comes after %s", m.path, list[i-1].path)
				}
				rel, err := filepath.Rel(dir, m.path)
				if err != nil {
					t.Fatal(err)
				}
				if m.fate != ignore {
					got[rel] = m.fate
				}
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got  %v\nwant %v", got, test.want)
			}
		})
	}
}

// The AddOn is named by what comes before the first dot.
func TestAddonName(t *testing.T) {
	for path, want := range map[string]string{
		"/m/coredns.yaml": "coredns", "/m/coredns.ha.yaml": "coredns", "/m/x/metrics-server-deployment.yaml": "metrics-server-deployment",
	} {
		if got := addonName(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestParseObjects(t *testing.T) {
	list, err := parseObjects([]byte("# nothing\n---\n---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: b}}\n---\n{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"c\"}}\n"))
	if err != nil || len(list) != 3 {
		t.Errorf("%d objects: %v", len(list), err)
	}
	for _, bad := range []string{"a: [", "apiVersion: v1", "just text"} {
		if _, err := parseObjects([]byte(bad)); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestGVKsSurviveTheAnnotation(t *testing.T) {
	list, err := parseObjects([]byte("apiVersion: v1\nkind: Service\n---\napiVersion: apps/v1\nkind: Deployment\n"))
	if err != nil {
		t.Fatal(err)
	}
	var text string
	for i, o := range list {
		if i > 0 {
			text += gvksSeparator
		}
		text += o.GetObjectKind().GroupVersionKind().String()
	}
	got := parseGVKs(text)
	if len(got) != 2 || got[0].Group != "" || got[0].Kind != "Service" || got[1].Group != "apps" || formatGVKs(got) != text {
		t.Errorf("%q became %v", text, got)
	}
}
