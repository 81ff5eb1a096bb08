// SPDX-License-Identifier: GPL-3.0-or-later

package deploy_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/k3s-io/api/pkg/generated/clientset/versioned"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"k3s-ha.core/sandbox/internal/k3s/config"
	"k3s-ha.core/sandbox/internal/k3s/deploy"
	"k3s-ha.core/sandbox/internal/k3s/server"
	"k3s-ha.core/sandbox/internal/k3s/supervise"
)

// These tests run the real apiserver over the real kine, without nodes, in a
// network namespace of their own: ports are the ones of a real server. A restart
// of k3s is what it is to the deploy loop: the manifests staged anew, a new
// controller, and a forced pass.

const (
	inNamespace = "DEPLOY_TEST_IN_NAMESPACE"
	ours        = "k3s-core-ha" // a field manager that is not k3s's
	self        = "server-1"
)

func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) == "" {
		os.Exit(again())
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "loopback: %v: %s\n", err, out)
		os.Exit(1)
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	code := m.Run()
	if live.group != nil {
		live.group.Stop()
	}
	if live.dir != "" {
		if err := os.RemoveAll(live.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// again runs this program in a new network namespace, where nothing can be
// built or fetched: what is needed is found, or built, before.
func again() int {
	components, err := findComponents()
	if err != nil {
		fmt.Fprintf(os.Stderr, "no kube and kine to test with: %v\n", err)
		return 1
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1", "K3S_COMPONENTS="+components)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	err = cmd.Run()
	var exit *exec.ExitError
	if err == nil || errors.As(err, &exit) {
		return cmd.ProcessState.ExitCode()
	}
	fmt.Fprintf(os.Stderr, "these tests need a network namespace of their own, and so root: %v\n", err)
	return 1
}

// findComponents is K3S_COMPONENTS, or what the sandbox builds.
func findComponents() (string, error) {
	if dir := os.Getenv("K3S_COMPONENTS"); dir != "" {
		return dir, nil
	}
	cmd := exec.Command("../../../sandbox", "build")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("sandbox build: %w", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "bin"), nil
}

// cluster is the control plane that the tests share.
type cluster struct {
	dir    string
	group  *supervise.Group
	server *server.Server
	cfg    *rest.Config
	client kubernetes.Interface
	addons versioned.Interface
	meta   metadata.Interface

	started                  bool
	requests, writes, others atomic.Int64 // of the deploy controller; others: about an object of the name "other"
}

var (
	live  cluster
	start sync.Once
	fail  error
)

// control brings the control plane up at the first call.
func control(t *testing.T) *cluster {
	t.Helper()
	start.Do(func() { fail = live.up() })
	if fail != nil {
		t.Fatal(fail)
	}
	return &live
}

func (c *cluster) up() error {
	var err error
	if c.dir, err = os.MkdirTemp("", "k3s"); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(c.dir, "log"))
	if err != nil {
		return err
	}
	c.group = supervise.New(log)
	cfg, err := config.Load([]string{
		"server", "--node-ip=127.0.0.1", "--node-name=" + self, "--disable-agent",
		"--data-dir=" + c.dir, "--write-kubeconfig=" + filepath.Join(c.dir, "k3s.yaml"),
	}, os.Getenv, nil, func(string) {})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if c.server, err = server.Start(ctx, cfg, c.group); err != nil {
		return err
	}
	if c.cfg, err = c.server.API(ctx); err != nil {
		data, _ := os.ReadFile(log.Name())
		return fmt.Errorf("no apiserver: %w; its log ends with\n%s", err, data[max(0, len(data)-2000):])
	}
	if c.client, err = kubernetes.NewForConfig(c.cfg); err != nil {
		return err
	}
	if c.addons, err = versioned.NewForConfig(c.cfg); err != nil {
		return err
	}
	if c.meta, err = metadata.NewForConfig(c.cfg); err != nil {
		return err
	}
	return deploy.CreateCRDs(ctx, c.cfg, true)
}

type counter struct {
	c    *cluster
	next http.RoundTripper
}

// Events are written in their own time and do not count.
func (r counter) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(req.URL.Path, "/events") && !strings.Contains(req.URL.Path, "/events/") {
		r.c.requests.Add(1)
		if req.Method != http.MethodGet {
			r.c.writes.Add(1)
		}
		if strings.HasSuffix(req.URL.Path, "/other") {
			r.c.others.Add(1)
		}
	}
	return r.next.RoundTrip(req)
}

// k3s is one life of the server as far as manifests go.
type k3s struct {
	*cluster
	manifests string
	deploy    *deploy.Controller
}

// begin is a start of k3s up to the loop's first pass. But for the first start
// only coredns's manifest and the test's own are left: that is quicker, and a
// file that is gone deletes nothing.
func (c *cluster) begin(t *testing.T, disable ...string) *k3s {
	t.Helper()
	dir, err := c.server.Stage()
	if err != nil {
		t.Fatal(err)
	}
	if c.started {
		for _, name := range []string{"local-storage.yaml", "metrics-server", "rolebindings.yaml", "traefik.yaml"} {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	disabled := map[string]bool{}
	for _, d := range disable {
		disabled[d] = true
	}
	cfg := rest.CopyConfig(c.cfg)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return counter{c, next} })
	ctl, err := deploy.New(cfg, self, dir, disabled, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	return &k3s{c, dir, ctl}
}

// restart is a start of k3s with its first, forced pass.
func (c *cluster) restart(t *testing.T, disable ...string) *k3s {
	t.Helper()
	k := c.begin(t, disable...)
	k.passes(t, true)
	c.started = true
	return k
}

// pass is one later pass of the loop.
func (k *k3s) pass(t *testing.T) {
	t.Helper()
	k.passes(t, false)
}

// passes goes over the files until nothing is in conflict: the loop leaves what
// failed to its next pass, and a busy datastore can answer an AddOn's update
// with a conflict though it took it.
func (k *k3s) passes(t *testing.T, force bool) {
	t.Helper()
	for range 3 {
		err := k.deploy.Pass(context.Background(), force)
		if err == nil {
			return
		}
		if !apierrors.IsConflict(err) {
			t.Fatal(err)
		}
		t.Logf("left to the next pass: %v", err)
	}
	t.Fatal("three passes ended in a conflict")
}

// fresh puts the packaged coredns back as a release brings it, and takes away
// what an earlier test deployed by own.yaml or before.yaml.
func fresh(t *testing.T) *k3s {
	t.Helper()
	c := control(t)
	k := c.begin(t)
	if err := os.Remove(k.file("coredns.yaml.skip")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	c.restart(t, "coredns", "own", "before")
	return c.restart(t)
}

func (k *k3s) file(name string) string { return filepath.Join(k.manifests, name) }

// write changes a manifest so that its mtime differs, however coarse the clock.
func (k *k3s) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(k.file(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	k.touch(t, name)
}

var touched = time.Now()

func (k *k3s) touch(t *testing.T, name string) {
	t.Helper()
	touched = touched.Add(time.Second)
	if err := os.Chtimes(k.file(name), touched, touched); err != nil {
		t.Fatal(err)
	}
}

func (k *k3s) read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(k.file(name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func (c *cluster) coredns(t *testing.T) *appsv1.Deployment {
	t.Helper()
	return must(t)(c.client.AppsV1().Deployments("kube-system").Get(context.Background(), "coredns", metav1.GetOptions{})).(*appsv1.Deployment)
}

func (c *cluster) service(t *testing.T) *corev1.Service {
	t.Helper()
	return must(t)(c.client.CoreV1().Services("kube-system").Get(context.Background(), "kube-dns", metav1.GetOptions{})).(*corev1.Service)
}

func (c *cluster) configMap(t *testing.T) *corev1.ConfigMap {
	t.Helper()
	return must(t)(c.client.CoreV1().ConfigMaps("kube-system").Get(context.Background(), "coredns", metav1.GetOptions{})).(*corev1.ConfigMap)
}

// kubectl runs the real one as the cluster's admin.
func (c *cluster) kubectl(t *testing.T, stdin string, args ...string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(os.Getenv("K3S_COMPONENTS"), "kube"), append([]string{
		"kubectl", "--namespace=kube-system",
		"--kubeconfig=" + filepath.Join(c.dir, "k3s.yaml"), "--cache-dir=" + filepath.Join(c.dir, "kubectl"),
	}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
}

// specJSON is a Deployment's spec in a form that can be compared.
func specJSON(t *testing.T, d *appsv1.Deployment) string {
	t.Helper()
	data, err := json.Marshal(d.Spec)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func must(t *testing.T) func(any, error) any {
	return func(v any, err error) any {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// deployment applies a spec to the coredns Deployment server-side, as ours.
func (c *cluster) deployment(t *testing.T, spec string, force bool) error {
	t.Helper()
	body := `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"coredns"}`
	if spec != "" {
		body += `,"spec":` + spec
	}
	body += "}"
	_, err := c.client.AppsV1().Deployments("kube-system").Patch(context.Background(), "coredns", types.ApplyPatchType, []byte(body),
		metav1.PatchOptions{FieldManager: ours, Force: &force})
	return err
}

// pod wraps a pod spec into a Deployment's.
func pod(spec string) string { return `{"template":{"spec":` + spec + `}}` }

func (c *cluster) addon(t *testing.T, name string) (checksum string, found bool) {
	t.Helper()
	list, err := c.addons.K3sV1().Addons("kube-system").List(context.Background(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list.Items {
		if a.Name == name {
			return a.Spec.Checksum, true
		}
	}
	return "", false
}

// event waits for one: they are written in the background.
func (c *cluster) event(t *testing.T, addon, reason, text string) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		list, err := c.client.CoreV1().Events("kube-system").List(context.Background(), metav1.ListOptions{
			FieldSelector: "involvedObject.kind=Addon,involvedObject.name=" + addon + ",reason=" + reason,
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Items {
			if strings.Contains(e.Message, text) {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("no event %s of AddOn %s with %q", reason, addon, text)
		}
	}
}
