// SPDX-License-Identifier: GPL-3.0-or-later

package deploy

import (
	"bytes"
	"encoding/base64"
	"reflect"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// helmChart reads a packaged HelmChart: its spec, the chart that it carries, and its values.
func helmChart(t *testing.T, name string) (spec m, archive *chart.Chart, values m) {
	t.Helper()
	objects, _ := staged(t, testValues)
	spec, ok := at(objects["HelmChart/"+name], "spec").(m)
	if !ok {
		t.Fatalf("no HelmChart %s", name)
	}
	packed, err := base64.StdEncoding.DecodeString(spec["chartContent"].(string))
	if err != nil {
		t.Fatal(err)
	}
	if archive, err = loader.LoadArchive(bytes.NewReader(packed)); err != nil {
		t.Fatal(err)
	}
	if content, ok := spec["valuesContent"].(string); ok {
		if err := yaml.Unmarshal([]byte(content), &values); err != nil {
			t.Fatal(err)
		}
	}
	return spec, archive, values
}

// rendered are the objects of the chart traefik, by kind, as k3s installs it with more values.
func rendered(t *testing.T, more m) map[string]m {
	t.Helper()
	_, archive, values := helmChart(t, "traefik")
	release := common.ReleaseOptions{Name: "traefik", Namespace: "kube-system"}
	all, err := util.ToRenderValues(archive, loader.MergeMaps(values, more), release, common.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.Render(archive, all)
	if err != nil {
		t.Fatal(err)
	}
	objects := map[string]m{}
	for name, text := range files {
		list, err := parseObjects([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, text)
		}
		for _, o := range list {
			u := o.(*unstructured.Unstructured)
			if u.GetName() != "traefik" || u.GetNamespace() != "kube-system" {
				t.Errorf("%s is called %s/%s", u.GetKind(), u.GetNamespace(), u.GetName())
			}
			objects[u.GetKind()] = u.Object
		}
	}
	return objects
}

// Both charts state the policy and force, as k3s's do; of HA there is nothing in traefik's values.
func TestPackagedCharts(t *testing.T) {
	for _, name := range []string{"traefik", "traefik-crd"} {
		spec, archive, values := helmChart(t, name)
		if spec["failurePolicy"] != "retry" || spec["forceConflicts"] != true || archive.Metadata.Name != name {
			t.Errorf("%s with the chart %s: %v", name, archive.Metadata.Name, spec)
		}
		for _, key := range []string{"affinity", "topologySpreadConstraints", "podDisruptionBudget", "updateStrategy"} {
			if _, ok := values[key]; ok {
				t.Errorf("%s has values for %s", name, key)
			}
		}
		if replicas := at(values, "deployment", "replicas"); replicas != nil {
			t.Errorf("%s has %v replicas", name, replicas)
		}
		again, err := chartContent(name)
		if err != nil || again != spec["chartContent"] {
			t.Errorf("%s is packed otherwise the second time: %v", name, err)
		}
	}
}

func TestTraefikByDefault(t *testing.T) {
	objects := rendered(t, nil)
	if len(objects) != 2 {
		t.Errorf("objects: %v", objects)
	}
	selector := m{"app.kubernetes.io/name": "traefik", "app.kubernetes.io/instance": "traefik-kube-system"}
	deployment := objects["Deployment"]
	for _, row := range []struct {
		want any
		path []string
	}{
		{int64(1), []string{"replicas"}},
		{selector, []string{"selector", "matchLabels"}},
		{m{"maxUnavailable": int64(0), "maxSurge": int64(1)}, []string{"strategy", "rollingUpdate"}},
		{"system-cluster-critical", []string{"template", "spec", "priorityClassName"}},
		{int64(60), []string{"template", "spec", "terminationGracePeriodSeconds"}},
		{nil, []string{"template", "spec", "affinity"}},
		{nil, []string{"template", "spec", "topologySpreadConstraints"}},
		{l{
			m{"key": "CriticalAddonsOnly", "operator": "Exists"},
			m{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
		}, []string{"template", "spec", "tolerations"}},
	} {
		if got := at(deployment["spec"], row.path...); !reflect.DeepEqual(got, row.want) {
			t.Errorf("%v: got %v, want %v", row.path, got, row.want)
		}
	}
	labels := at(deployment, "spec", "template", "metadata", "labels").(m)
	for key, value := range selector {
		if labels[key] != value {
			t.Errorf("labels of the pods: %v", labels)
		}
	}
	service := objects["Service"]["spec"]
	if kind := at(service, "type"); kind != "LoadBalancer" || !reflect.DeepEqual(at(service, "selector"), selector) {
		t.Errorf("Service: %v", service)
	}
}

// The values that a HelmChartConfig is for.
func TestTraefikValues(t *testing.T) {
	spread := l{m{
		"maxSkew": int64(1), "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
		"labelSelector": m{"matchLabels": m{"app.kubernetes.io/name": "traefik"}},
	}}
	affinity := m{"nodeAffinity": m{"requiredDuringSchedulingIgnoredDuringExecution": m{"nodeSelectorTerms": l{
		m{"matchExpressions": l{m{"key": "disk", "operator": "In", "values": l{"ssd"}}}},
	}}}}
	rolling := m{"maxSurge": int64(2), "maxUnavailable": int64(1)}
	lifecycle := m{"preStop": m{"sleep": m{"seconds": int64(5)}}}
	objects := rendered(t, m{
		"deployment":                m{"replicas": int64(3), "minReadySeconds": int64(4), "lifecycle": lifecycle},
		"podDisruptionBudget":       m{"enabled": true, "maxUnavailable": int64(1)},
		"topologySpreadConstraints": spread,
		"affinity":                  affinity,
		"updateStrategy":            m{"type": "RollingUpdate", "rollingUpdate": rolling},
		"tolerations":               l{m{"operator": "Exists"}},
		"nodeSelector":              m{"disk": "ssd"},
		"resources":                 m{"requests": m{"cpu": "10m"}},
	})
	deployment := objects["Deployment"]["spec"]
	container := at(deployment, "template", "spec", "containers").([]any)[0]
	for what, pair := range map[string][2]any{
		"replicas":  {at(deployment, "replicas"), int64(3)},
		"ready":     {at(deployment, "minReadySeconds"), int64(4)},
		"strategy":  {at(deployment, "strategy", "rollingUpdate"), rolling},
		"spread":    {at(deployment, "template", "spec", "topologySpreadConstraints"), spread},
		"affinity":  {at(deployment, "template", "spec", "affinity"), affinity},
		"tolerate":  {at(deployment, "template", "spec", "tolerations"), l{m{"operator": "Exists"}}},
		"nodes":     {at(deployment, "template", "spec", "nodeSelector"), m{"disk": "ssd"}},
		"resources": {at(container, "resources"), m{"requests": m{"cpu": "10m"}}},
		"lifecycle": {at(container, "lifecycle"), lifecycle},
		"budget":    {at(objects["PodDisruptionBudget"], "spec", "maxUnavailable"), int64(1)},
		"least":     {at(objects["PodDisruptionBudget"], "spec", "minAvailable"), nil},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: got %v, want %v", what, pair[0], pair[1])
		}
	}
	objects = rendered(t, m{"podDisruptionBudget": m{"enabled": true, "minAvailable": "50%"}})
	if got := at(objects["PodDisruptionBudget"], "spec", "minAvailable"); got != "50%" {
		t.Errorf("minAvailable: %v", got)
	}
}
