// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	jobPatience     = 90 * time.Second
	traefikManifest = "/var/lib/rancher/k3s/server/manifests/traefik.yaml"
)

// TestTraefik: charts are what k3s makes of them, by the real helm-controller.
func TestTraefik(t *testing.T) {
	s := sandbox{t, "e2e-traefik"}
	s.run(soon, "down")
	t.Cleanup(func() { s.run(soon, "down") })
	up := s.run(3*time.Minute, "up", "small", "--traefik")
	t.Logf("up small --traefik: %.1f s", up.took.Seconds())
	eventually(t, jobPatience, "traefik is deployed", func() bool { return s.deployed("traefik", 1) })
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"installed", s.installed}, {"answers", s.answers}, {"config", s.config}, {"restart", s.chartsRestart},
		{"scale", s.scale}, {"refused", s.refused}, {"unconfigured", s.unconfigured}, {"disable", s.disableTraefik},
	} {
		if !t.Run(test.name, test.run) {
			break // each goes on from where the one before left
		}
	}
}

// object gets one of kube-system; nil if it is not there.
func (s sandbox) object(kind, name string) map[string]any {
	s.t.Helper()
	r := s.try(soon, "", "kubectl", "-n", "kube-system", "get", kind, name, "-o", "json", "--ignore-not-found")
	if r.status != 0 || r.stdout == "" {
		return nil
	}
	var o map[string]any
	if err := json.Unmarshal([]byte(r.stdout), &o); err != nil {
		s.t.Fatal(err)
	}
	return o
}

// field follows a path of keys.
func field(o any, path ...string) any {
	for _, key := range path {
		m, ok := o.(map[string]any)
		if !ok {
			return nil
		}
		o = m[key]
	}
	return o
}

// environment is a variable of a job's container.
func environment(job any, name string) any {
	containers, _ := field(job, "spec", "template", "spec", "containers").([]any)
	for _, c := range containers {
		variables, _ := field(c, "env").([]any)
		for _, v := range variables {
			if field(v, "name") == name {
				return field(v, "value")
			}
		}
	}
	return nil
}

// release is the last revision of a chart's release, with its status, as the labels of its Secrets say.
func (s sandbox) release(name string) (revision int, status, hash string) {
	s.t.Helper()
	const columns = `jsonpath={range .items[*].metadata.labels}{.version} {.status} ` +
		`{.helmcharts\.helm\.cattle\.io/configHash}{"\n"}{end}`
	list := s.kubectl("-n", "kube-system", "get", "secrets", "-l", "owner=helm,name="+name,
		"--field-selector=type=helm.sh/release.v1", "-o", columns)
	for line := range strings.Lines(list) {
		var r int
		var st, h string
		if _, err := fmt.Sscan(line, &r, &st, &h); err != nil {
			s.t.Fatalf("%q: %v", line, err)
		}
		if r > revision {
			revision, status, hash = r, st, h
		}
	}
	return revision, status, hash
}

// deployed: the chart's job is done for the configuration as it is, and all replicas are ready.
func (s sandbox) deployed(name string, replicas float64) bool {
	s.t.Helper()
	job := s.object("job", "helm-install-"+name)
	_, status, hash := s.release(name)
	if field(job, "status", "succeeded") != 1.0 || status != "deployed" || environment(job, "CONFIG_HASH") != hash {
		return false
	}
	d := s.object("deployment", name)
	return field(d, "spec", "replicas") == replicas && field(d, "status", "readyReplicas") == replicas &&
		field(d, "status", "updatedReplicas") == replicas && field(d, "status", "replicas") == replicas
}

func (s sandbox) installed(t *testing.T) {
	s.t = t
	for _, name := range []string{"traefik", "traefik-crd"} {
		if revision, status, hash := s.release(name); revision != 1 || status != "deployed" || len(hash) != 63 {
			t.Errorf("release %s: revision %d, %s, hash %q", name, revision, status, hash)
		}
		if policy := field(s.object("helmchart", name), "spec", "failurePolicy"); policy != "retry" {
			t.Errorf("HelmChart %s has the policy %v", name, policy)
		}
	}
	labels := field(s.object("deployment", "traefik"), "metadata", "labels")
	for label, want := range map[string]string{
		"app.kubernetes.io/name": "traefik", "app.kubernetes.io/instance": "traefik-kube-system",
	} {
		if got := field(labels, label); got != want {
			t.Errorf("label %s: %v", label, got)
		}
	}
	if kind := field(s.object("service", "traefik"), "spec", "type"); kind != "LoadBalancer" {
		t.Errorf("the Service is of type %v", kind)
	}
	if checksum, _ := field(s.object("addon", "traefik"), "spec", "checksum").(string); len(checksum) != 64 {
		t.Errorf("AddOn traefik has the checksum %q", checksum)
	}
}

// answers: through the Service, from a pod.
func (s sandbox) answers(t *testing.T) {
	s.t = t
	s.run(soon, "kubectl", "create", "deployment", "client", "--image="+busybox, "--", "sleep", "1000000")
	s.run(2*time.Minute, "kubectl", "rollout", "status", "deployment/client", "--timeout=110s")
	get := []string{"exec", "deployment/client", "--", "wget", "-q", "-O", "-", "http://traefik.kube-system/ping"}
	if got := s.kubectl(get...); got != "OK" {
		t.Errorf("/ping: %q", got)
	}
}

// configure applies a HelmChartConfig for traefik.
func (s sandbox) configure(spec string) {
	s.t.Helper()
	config := `{"apiVersion":"helm.cattle.io/v1","kind":"HelmChartConfig",` +
		`"metadata":{"name":"traefik","namespace":"kube-system"},"spec":` + spec + `}`
	if r := s.try(soon, config, "kubectl", "apply", "-f", "-"); r.status != 0 {
		s.t.Fatal(r.stderr)
	}
}

// config: spec.values of a HelmChartConfig come over the chart's own; a policy that is not stated is stored as
// reinstall, and beats the chart's.
func (s sandbox) config(t *testing.T) {
	s.t = t
	uid := field(s.object("deployment", "traefik"), "metadata", "uid")
	s.configure(`{"values":{"deployment":{"replicas":2}}}`)
	if policy := field(s.object("helmchartconfig", "traefik"), "spec", "failurePolicy"); policy != "reinstall" {
		t.Errorf("a policy that is not stated is stored as %v", policy)
	}
	eventually(t, jobPatience, "two replicas", func() bool { return s.deployed("traefik", 2) })
	if revision, _, _ := s.release("traefik"); revision != 2 {
		t.Errorf("revision %d", revision)
	}
	if policy := environment(s.object("job", "helm-install-traefik"), "FAILURE_POLICY"); policy != "reinstall" {
		t.Errorf("the job has the policy %v", policy)
	}
	if now := field(s.object("deployment", "traefik"), "metadata", "uid"); now != uid {
		t.Error("the Deployment is another one")
	}
}

// chartsRestart: a start of k3s applies the same HelmCharts, so no job runs and nothing rolls.
func (s sandbox) chartsRestart(t *testing.T) {
	s.t = t
	state := func() string {
		revision, status, hash := s.release("traefik")
		d, job := s.object("deployment", "traefik"), s.object("job", "helm-install-traefik")
		return fmt.Sprint(revision, status, hash, field(d, "metadata", "generation"), field(d, "metadata", "uid"),
			field(job, "metadata", "uid"), field(s.object("helmchart", "traefik"), "metadata", "generation"))
	}
	applied := func() string {
		return s.kubectl("-n", "kube-system", "get", "events",
			"--field-selector=reason=AppliedManifest,involvedObject.name=traefik", "-o", "jsonpath={.items[*].count}")
	}
	before, passes := state(), applied()
	s.run(soon, "exec", "server-1", "systemctl", "restart", "k3s")
	eventually(t, time.Minute, "the API after a restart of k3s", s.apiAnswers)
	eventually(t, time.Minute, "the manifest applied again", func() bool { return applied() != passes })
	time.Sleep(10 * time.Second) // helm-controller's look at everything that is there
	if after := state(); after != before {
		t.Errorf("after a restart\n%s\nbefore\n%s", after, before)
	}
}

// scale: the next job takes the count back, since k3s's charts take by force.
func (s sandbox) scale(t *testing.T) {
	s.t = t
	s.run(soon, "kubectl", "-n", "kube-system", "scale", "deployment", "traefik", "--replicas=3")
	eventually(t, time.Minute, "three replicas", func() bool { return s.deployed("traefik", 3) })
	s.configure(`{"failurePolicy":"retry","values":{"deployment":{"replicas":2,"podAnnotations":{"changed":"yes"}}}}`)
	eventually(t, jobPatience, "two again", func() bool { return s.deployed("traefik", 2) })
}

// refused: values that the server does not take leave what runs as it is, whatever the job tries; mended, they go on.
func (s sandbox) refused(t *testing.T) {
	s.t = t
	before := s.object("deployment", "traefik")
	revision, _, _ := s.release("traefik")
	s.configure(`{"failurePolicy":"retry","values":{"deployment":{"replicas":-1}}}`)
	eventually(t, jobPatience, "a failed revision", func() bool {
		r, status, _ := s.release("traefik")
		return r > revision && status == "failed"
	})
	eventually(t, soon, "a pod of the job says why", func() bool {
		said := s.kubectl("-n", "kube-system", "get", "pods", "-l", "batch.kubernetes.io/job-name=helm-install-traefik",
			"-o", "jsonpath={.items[*].status.containerStatuses[*].state.terminated.message}")
		return strings.Contains(said, "spec.replicas: Invalid value: -1")
	})
	after := s.object("deployment", "traefik")
	if field(before, "metadata", "uid") != field(after, "metadata", "uid") || field(after, "spec", "replicas") != 2.0 {
		t.Errorf("after a failure: %v", after)
	}
	s.configure(`{"failurePolicy":"retry","values":{"deployment":{"replicas":2}}}`)
	eventually(t, 2*jobPatience, "mended", func() bool { return s.deployed("traefik", 2) })
	if now := field(s.object("deployment", "traefik"), "metadata", "uid"); now != field(before, "metadata", "uid") {
		t.Error("the Deployment is another one")
	}
}

// unconfigured: without a HelmChartConfig there is what the chart says.
func (s sandbox) unconfigured(t *testing.T) {
	s.t = t
	s.run(soon, "kubectl", "-n", "kube-system", "delete", "helmchartconfig", "traefik")
	eventually(t, jobPatience, "one replica", func() bool { return s.deployed("traefik", 1) })
}

// disableTraefik: the charts' objects go by jobs of their own, then the AddOn and the file.
func (s sandbox) disableTraefik(t *testing.T) {
	s.t = t
	const disable = "echo 'disable: traefik' >/etc/rancher/k3s/config.yaml.d/90-test.yaml; systemctl restart k3s"
	s.run(soon, "exec", "server-1", "sh", "-c", disable)
	eventually(t, time.Minute, "the API after a restart of k3s", s.apiAnswers)
	eventually(t, jobPatience, "traefik is gone", func() bool {
		return s.object("deployment", "traefik") == nil &&
			s.object("helmchart", "traefik") == nil && s.object("helmchart", "traefik-crd") == nil
	})
	if revision, _, _ := s.release("traefik"); revision != 0 {
		t.Errorf("release at revision %d", revision)
	}
	eventually(t, time.Minute, "the AddOn is gone", func() bool { return s.object("addon", "traefik") == nil })
	if r := s.try(soon, "", "exec", "server-1", "test", "-e", traefikManifest); r.status != 1 {
		t.Errorf("the manifest: test -e gives %d", r.status)
	}
}

// TestWithoutTraefik: other clusters have nothing of it.
func TestWithoutTraefik(t *testing.T) {
	s := sandbox{t, "e2e-plain"}
	s.run(soon, "down")
	t.Cleanup(func() { s.run(soon, "down") })
	s.run(3*time.Minute, "up", "single")
	if r := s.try(soon, "", "up", "single", "--traefik"); r.status != 2 || !strings.Contains(r.stderr, "without traefik") {
		t.Errorf("up --traefik of a cluster that is up without: status %d, %s", r.status, r.stderr)
	}
	if r := s.try(soon, "", "kubectl", "get", "helmcharts"); r.status == 0 {
		t.Errorf("HelmCharts are served: %s", r.stdout)
	}
	eventually(t, time.Minute, "the manifest is taken away again", func() bool {
		return s.try(soon, "", "exec", "server-1", "test", "-e", traefikManifest).status == 1
	})
	if logged := s.run(soon, "logs", "server-1", "k3s").stdout; strings.Contains(logged, "deploy: failed to ") {
		t.Error("the deploy loop has errors")
	}
}
