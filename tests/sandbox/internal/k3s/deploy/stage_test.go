// SPDX-License-Identifier: GPL-3.0-or-later

package deploy

import (
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"k3s-ha.core/sandbox/versions"
)

var testValues = Values{
	ClusterDNS: []netip.Addr{netip.MustParseAddr("10.43.0.10")}, ClusterDomain: "cluster.local", LocalStoragePath: "/var/lib/rancher/k3s/storage",
}

// staged is every object of the staged manifests, by "Kind/name", and the file
// each came from.
func staged(t *testing.T, values Values) (objects map[string]map[string]any, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	if err := Stage(dir, values); err != nil {
		t.Fatal(err)
	}
	objects, files = map[string]map[string]any{}, map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %o", path, info.Mode().Perm())
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		list, err := parseObjects(data)
		if err != nil {
			return err
		}
		for _, o := range list {
			u := o.(*unstructured.Unstructured)
			key := u.GetKind() + "/" + u.GetName()
			if objects[key] != nil {
				t.Errorf("%s is in two manifests", key)
			}
			objects[key] = u.Object
			files[key], err = filepath.Rel(dir, path)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return objects, files
}

// at follows a path of fields; nil where there is none.
func at(object any, path ...string) any {
	for _, p := range path {
		m, ok := object.(map[string]any)
		if !ok {
			return nil
		}
		object = m[p]
	}
	return object
}

type (
	m = map[string]any
	l = []any
)

// One row for each row of the table of packaged components: what each
// Deployment carries, and what it does not.
func TestPackagedDeployments(t *testing.T) {
	objects, _ := staged(t, testValues)
	spread := func(key, when string) m {
		return m{
			"maxSkew": int64(1), "topologyKey": key, "whenUnsatisfiable": when,
			"labelSelector": m{"matchLabels": m{"k8s-app": "kube-dns"}},
		}
	}
	probe := func(path string, port any, scheme string) m {
		return m{"path": path, "port": port, "scheme": scheme}
	}
	tolerations := l{
		m{"key": "CriticalAddonsOnly", "operator": "Exists"},
		m{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
	}
	requests := m{"cpu": "100m", "memory": "70Mi"}
	for _, row := range []struct {
		field                             string
		path                              []string // in the Deployment's spec; "[0]" is the one container
		coredns, localPath, metricsServer any
	}{
		{"replicas", []string{"replicas"}, nil, nil, nil},
		{"affinity", []string{"template", "spec", "affinity"}, nil, nil, nil},
		{
			"topologySpreadConstraints", []string{"template", "spec", "topologySpreadConstraints"},
			l{spread("topology.kubernetes.io/zone", "ScheduleAnyway"), spread("kubernetes.io/hostname", "DoNotSchedule")}, nil, nil,
		},
		{
			"strategy", []string{"strategy"},
			m{"type": "RollingUpdate", "rollingUpdate": m{"maxUnavailable": int64(1)}},
			m{"type": "RollingUpdate", "rollingUpdate": m{"maxUnavailable": int64(1)}},
			m{"type": "RollingUpdate", "rollingUpdate": m{"maxUnavailable": int64(1)}},
		},
		{"revisionHistoryLimit", []string{"revisionHistoryLimit"}, int64(0), int64(0), int64(0)},
		{
			"priorityClassName", []string{"template", "spec", "priorityClassName"},
			"system-cluster-critical", "system-node-critical", "system-node-critical",
		},
		{"tolerations", []string{"template", "spec", "tolerations"}, tolerations, tolerations, tolerations},
		{
			"nodeSelector", []string{"template", "spec", "nodeSelector"},
			m{"kubernetes.io/os": "linux"}, m{"kubernetes.io/os": "linux"}, m{"kubernetes.io/os": "linux"},
		},
		{
			"resources", []string{"[0]", "resources"},
			m{"requests": requests, "limits": m{"memory": "170Mi"}}, nil, m{"requests": requests},
		},
		{
			"liveness", []string{"[0]", "livenessProbe", "httpGet"},
			probe("/health", int64(8080), "HTTP"), nil, probe("/livez", "https", "HTTPS"),
		},
		{
			"readiness", []string{"[0]", "readinessProbe", "httpGet"},
			probe("/ready", int64(8181), "HTTP"), nil, probe("/readyz", "https", "HTTPS"),
		},
		{"lifecycle", []string{"[0]", "lifecycle"}, nil, nil, nil},
		{"terminationGracePeriodSeconds", []string{"template", "spec", "terminationGracePeriodSeconds"}, nil, nil, nil},
		{"minReadySeconds", []string{"minReadySeconds"}, nil, nil, nil},
		{
			"image", []string{"[0]", "image"},
			"rancher/mirrored-coredns-coredns:" + versions.Current().CoreDNS,
			"rancher/local-path-provisioner:v" + versions.Current().LocalPath,
			"rancher/mirrored-metrics-server:v" + versions.Current().MetricsServer,
		},
		{
			"volumes", []string{"template", "spec", "volumes"},
			l{
				m{"name": "config-volume", "configMap": m{"name": "coredns", "items": l{
					m{"key": "Corefile", "path": "Corefile"}, m{"key": "NodeHosts", "path": "NodeHosts"},
				}}},
				m{"name": "custom-config-volume", "configMap": m{"name": "coredns-custom", "optional": true}},
			},
			l{m{"name": "config-volume", "configMap": m{"name": "local-path-config"}}},
			l{m{"name": "tmp-dir", "emptyDir": m{}}},
		},
	} {
		for name, want := range map[string]any{"coredns": row.coredns, "local-path-provisioner": row.localPath, "metrics-server": row.metricsServer} {
			spec := at(objects["Deployment/"+name], "spec")
			path := row.path
			if path[0] == "[0]" {
				containers := at(spec, "template", "spec", "containers").([]any)
				if len(containers) != 1 {
					t.Fatalf("%s has %d containers", name, len(containers))
				}
				spec, path = containers[0], path[1:]
			}
			if got := at(spec, path...); !reflect.DeepEqual(got, want) {
				t.Errorf("%s of %s:\n got %v\nwant %v", row.field, name, got, want)
			}
		}
	}
}

// Which file carries which objects, and so which AddOn owns them.
func TestPackagedObjects(t *testing.T) {
	objects, files := staged(t, testValues)
	want := map[string]string{
		"ServiceAccount/coredns":                                  "coredns.yaml",
		"ClusterRole/system:coredns":                              "coredns.yaml",
		"ClusterRoleBinding/system:coredns":                       "coredns.yaml",
		"ConfigMap/coredns":                                       "coredns.yaml",
		"Deployment/coredns":                                      "coredns.yaml",
		"Service/kube-dns":                                        "coredns.yaml",
		"ServiceAccount/local-path-provisioner-service-account":   "local-storage.yaml",
		"ClusterRole/local-path-provisioner-role":                 "local-storage.yaml",
		"ClusterRoleBinding/local-path-provisioner-bind":          "local-storage.yaml",
		"Deployment/local-path-provisioner":                       "local-storage.yaml",
		"StorageClass/local-path":                                 "local-storage.yaml",
		"ConfigMap/local-path-config":                             "local-storage.yaml",
		"ServiceAccount/metrics-server":                           "metrics-server/metrics-server-deployment.yaml",
		"Deployment/metrics-server":                               "metrics-server/metrics-server-deployment.yaml",
		"Service/metrics-server":                                  "metrics-server/metrics-server-service.yaml",
		"APIService/v1beta1.metrics.k8s.io":                       "metrics-server/metrics-apiservice.yaml",
		"RoleBinding/metrics-server-auth-reader":                  "metrics-server/auth-reader.yaml",
		"ClusterRoleBinding/metrics-server:system:auth-delegator": "metrics-server/auth-delegator.yaml",
		"ClusterRole/system:metrics-server":                       "metrics-server/resource-reader.yaml",
		"ClusterRoleBinding/system:metrics-server":                "metrics-server/resource-reader.yaml",
		"ClusterRole/system:aggregated-metrics-reader":            "metrics-server/aggregated-metrics-reader.yaml",
		"ClusterRoleBinding/kube-apiserver-kubelet-admin":         "rolebindings.yaml",
		"ClusterRole/system:k3s-controller":                       "rolebindings.yaml",
		"ClusterRoleBinding/system:k3s-controller":                "rolebindings.yaml",
		"HelmChart/traefik-crd":                                   "traefik.yaml",
		"HelmChart/traefik":                                       "traefik.yaml",
	}
	if !reflect.DeepEqual(files, want) {
		t.Errorf("got %v", files)
	}
	for key := range objects {
		if strings.HasPrefix(key, "PodDisruptionBudget") || strings.HasPrefix(key, "HorizontalPodAutoscaler") {
			t.Errorf("%s is packaged", key)
		}
	}
	addons := map[string]bool{}
	for _, f := range files {
		addons[addonName(f)] = true
	}
	var names []string
	for a := range addons {
		names = append(names, a)
	}
	slices.Sort(names)
	if want := []string{
		"aggregated-metrics-reader", "auth-delegator", "auth-reader", "coredns", "local-storage", "metrics-apiservice",
		"metrics-server-deployment", "metrics-server-service", "resource-reader", "rolebindings", "traefik",
	}; !slices.Equal(names, want) {
		t.Errorf("AddOns %v", names)
	}
}

// Where k3s has both families, so has its DNS, and must have them.
func TestPackagedDNSOfBothFamilies(t *testing.T) {
	values := testValues
	values.ClusterDNS = append(slices.Clone(values.ClusterDNS), netip.MustParseAddr("fd00:43::a"))
	objects, _ := staged(t, values)
	service := at(objects["Service/kube-dns"], "spec")
	for field, want := range map[string]any{
		"clusterIP": "10.43.0.10", "clusterIPs": l{"10.43.0.10", "fd00:43::a"}, "ipFamilyPolicy": "RequireDualStack",
	} {
		if got := at(service, field); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", field, got, want)
		}
	}
}

func TestPackagedDNS(t *testing.T) {
	objects, _ := staged(t, testValues)
	service := at(objects["Service/kube-dns"], "spec")
	for field, want := range map[string]any{
		"clusterIP": "10.43.0.10", "clusterIPs": l{"10.43.0.10"}, "ipFamilyPolicy": "SingleStack", "trafficDistribution": nil,
		"selector": m{"k8s-app": "kube-dns"},
		"ports": l{
			m{"name": "dns", "port": int64(53), "protocol": "UDP"},
			m{"name": "dns-tcp", "port": int64(53), "protocol": "TCP"},
			m{"name": "metrics", "port": int64(9153), "protocol": "TCP"},
		},
	} {
		if got := at(service, field); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %v, want %v", field, got, want)
		}
	}
	if got := at(objects["Deployment/coredns"], "spec", "template", "metadata", "labels"); !reflect.DeepEqual(got, m{"k8s-app": "kube-dns"}) {
		t.Errorf("labels of the pods: %v", got)
	}
	data := at(objects["ConfigMap/coredns"], "data").(map[string]any)
	corefile := data["Corefile"].(string)
	if strings.Contains(corefile, "lameduck") || !strings.Contains(corefile, "\n    health\n") {
		t.Error("the health plugin stands there without a lameduck")
	}
	for _, line := range []string{
		"kubernetes cluster.local in-addr.arpa ip6.arpa {", "hosts /etc/coredns/NodeHosts {",
		"import /etc/coredns/custom/*.override", "import /etc/coredns/custom/*.server",
	} {
		if !strings.Contains(corefile, line) {
			t.Errorf("the Corefile lacks %q", line)
		}
	}
	if _, ok := data["NodeHosts"]; ok {
		t.Error("NodeHosts is in the manifest: the supervisor could not keep it")
	}
}

func TestStageOverwritesEditsAndKeepsSkip(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "coredns.yaml")
	for name, text := range map[string]string{"coredns.yaml": "edited", "coredns.yaml.skip": "", "own.yaml": "mine"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := Stage(dir, testValues); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "edited") || placeholder.Match(data) {
		t.Error("not rewritten, or not filled in")
	}
	for _, name := range []string{"coredns.yaml.skip", "own.yaml"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestOverlay(t *testing.T) {
	dir, from := t.TempDir(), t.TempDir()
	if err := Stage(dir, testValues); err != nil {
		t.Fatal(err)
	}
	if err := Overlay(dir, filepath.Join(from, "none"), testValues); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(from, "coredns.yaml"), []byte("dns: %{CLUSTER_DNS}%\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Overlay(dir, from, testValues); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "coredns.yaml")); err != nil || string(data) != "dns: 10.43.0.10\n" {
		t.Errorf("%q, %v", data, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "local-storage.yaml")); err != nil {
		t.Error(err)
	}
}

func TestUnknownPlaceholderIsAnError(t *testing.T) {
	table, err := testValues.table()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fill("a %{NO_SUCH}% b", table); err == nil {
		t.Error("no error")
	}
}
