// SPDX-License-Identifier: GPL-3.0-or-later

package build

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"k3s-ha.core/sandbox/internal/failure"
	"k3s-ha.core/sandbox/internal/machine"
	"k3s-ha.core/sandbox/internal/progress"
	"k3s-ha.core/sandbox/versions"
)

// Builder fills the cache for one release.
type Builder struct {
	cache   string
	golang  string
	source  string // tests/sandbox, where our own k3s is built from
	release versions.Release
	real    string // a real k3s binary that takes the place of ours
	// libraries are what our own programs require, as lines of a go.mod.
	libraries string
}

// Result is where the things are.
type Result struct {
	Bundle  string // bin and images
	Base    string // the nodes' base tree
	Kubectl []string
	Kwok    string // only for a fleet
}

// New prepares a builder. real is the path of a k3s binary, or empty for ours.
func New(release versions.Release, real string) (*Builder, error) {
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, err
	}
	if real != "" {
		if real, err = filepath.Abs(real); err != nil {
			return nil, err
		}
		if st, err := os.Stat(real); err != nil || !st.Mode().IsRegular() || st.Mode()&0o111 == 0 {
			return nil, failure.New(failure.Usage, "--k3s %s is not an executable file", real)
		}
	}
	b := &Builder{cache: cache, source: os.Getenv("SANDBOX_SOURCE"), release: release, real: real}
	if b.source != "" {
		mod, err := os.ReadFile(filepath.Join(b.source, "go.mod"))
		if err != nil {
			return nil, err
		}
		b.libraries = requirements(string(mod))
	}
	return b, nil
}

// Everything builds what is missing and says where all of it is.
func (b *Builder) Everything() (Result, error) {
	base := b.base()
	own, err := b.own()
	if err != nil {
		return Result{}, err
	}
	bundle := b.bundle(base, own)
	result := Result{Bundle: b.path(bundle), Base: filepath.Join(b.path(base), "root")}
	result.Kubectl = []string{filepath.Join(result.Bundle, "bin", "kube"), "kubectl"}
	if b.real != "" {
		result.Kubectl = []string{filepath.Join(result.Bundle, "bin", "k3s"), "kubectl"}
	}
	if b.has(base) && b.has(bundle) {
		return result, b.used(base, bundle, own)
	}
	if err := machine.Require(machine.BuildTools); err != nil {
		return Result{}, err
	}
	release, err := lock(b.cache)
	if err != nil {
		return Result{}, err
	}
	defer release()
	if err := sweep(b.cache); err != nil {
		return Result{}, err
	}
	if b.golang, err = findGo(); err != nil {
		return Result{}, err
	}
	if !b.has(bundle) && b.real == "" && !b.has(b.kube()) {
		progress.Step("Kubernetes %s and what goes with it are built from source: about 10 minutes on 2 cores, once", b.release.Kubernetes)
	}
	// The base tree waits for packages, the compilers for processors: both at once.
	var both errgroup.Group
	both.Go(func() error {
		_, err := b.need(base)
		return err
	})
	both.Go(func() error { return b.programs(own) })
	if err := both.Wait(); err != nil {
		return Result{}, err
	}
	if _, err := b.need(bundle); err != nil {
		return Result{}, err
	}
	if err := b.used(base, bundle, own); err != nil {
		return Result{}, err
	}
	return result, prune(b.cache)
}

// Kwok builds the program that plays the kubelets of a fleet. It is no part of the nodes.
func (b *Builder) Kwok() (string, error) {
	e := b.installed("kwok", "sigs.k8s.io/kwok/cmd/kwok", b.release.Kwok)
	if !b.has(e) {
		release, err := lock(b.cache)
		if err != nil {
			return "", err
		}
		defer release()
		if b.golang, err = findGo(); err != nil {
			return "", err
		}
	}
	dir, err := b.need(e)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "kwok"), touch([]string{dir})
}

// used marks what this run uses.
func (b *Builder) used(base, bundle entry, own []entry) error {
	paths := []string{b.path(base), b.path(bundle)}
	if b.real == "" {
		for _, e := range append(append(b.components(), own...), b.imageArchives(base, own)) {
			paths = append(paths, b.path(e))
		}
	}
	return touch(paths)
}

// kubernetesModules are those of the programs that are made of Kubernetes' libraries. With the release that our own
// programs are made for it is one module, in the versions of ours; another one's Kubernetes would be given libraries
// newer than it.
func (b *Builder) kubernetesModules() (kubernetes, coreDNS, metricsServer module) {
	r := b.release
	const metrics = "sigs.k8s.io/metrics-server"
	kubernetes = module{mains: []string{"kube"}, requires: []string{"k8s.io/kubernetes@v" + r.Kubernetes}, staging: r.Kubernetes, others: r.Staging}
	coreDNS = module{mains: []string{"coredns"}, requires: []string{"github.com/coredns/coredns@v" + r.CoreDNS}}
	metricsServer = module{packages: map[string]string{"metrics-server": metrics + "/cmd/metrics-server"}, requires: []string{metrics + "@v" + r.MetricsServer}}
	if r.Kubernetes != versions.Current().Kubernetes {
		return kubernetes, coreDNS, metricsServer
	}
	one := kubernetes
	one.mains = append(one.mains, coreDNS.mains...)
	one.packages = metricsServer.packages
	one.requires = slices.Concat(kubernetes.requires, coreDNS.requires, metricsServer.requires)
	one.more = b.libraries
	return one, one, one
}

func (b *Builder) kube() entry {
	kubernetes, _, _ := b.kubernetesModules()
	const x = "-X k8s.io/component-base/version." // without a version, kubectl and others fail to parse it
	major, minor, _ := strings.Cut(b.release.Minor, ".")
	return b.program(kubernetes, program{name: "kube",
		ldflags: x + "gitVersion=" + b.release.K3s() + " " + x + "gitMajor=" + major + " " + x + "gitMinor=" + minor})
}

// components are the programs of others, in the order in which they are built.
func (b *Builder) components() []entry {
	r := b.release
	containerd := "github.com/containerd/containerd/v2/cmd/"
	_, coreDNS, metricsServer := b.kubernetesModules()
	return []entry{
		b.kube(),
		b.program(module{mains: []string{"kine"}, requires: []string{"github.com/k3s-io/kine@v" + r.Kine}}, program{name: "kine", cgo: true}),
		b.program(module{mains: []string{"etcd"}, requires: []string{"go.etcd.io/etcd/server/v3@v" + r.Etcd}}, program{name: "etcd"}),
		b.program(coreDNS, program{name: "coredns"}),
		b.program(module{mains: []string{"pause"}}, program{name: "pause"}),
		b.program(module{mains: []string{"traefik"}}, program{name: "traefik"}),
		b.installed("containerd", containerd+"containerd", r.Containerd),
		b.installed("containerd-shim-runc-v2", containerd+"containerd-shim-runc-v2", r.Containerd),
		b.installed("ctr", containerd+"ctr", r.Containerd),
		b.program(metricsServer, program{name: "metrics-server"}),
		b.installed("local-path-provisioner", "github.com/rancher/local-path-provisioner", r.LocalPath),
	}
}

func (b *Builder) programs(own []entry) error {
	if b.real != "" {
		return nil
	}
	// One that links keeps one processor busy, and one that fetches its modules none: the next one goes on meanwhile.
	var builds errgroup.Group
	builds.SetLimit(2)
	for _, c := range append(b.components(), own...) {
		builds.Go(func() error {
			_, err := b.need(c)
			return err
		})
	}
	return builds.Wait()
}

// own are the programs that are built from this tree: k3s, and what helm-controller's jobs run. A real k3s brings its
// own of both.
func (b *Builder) own() ([]entry, error) {
	if b.real != "" {
		return nil, nil
	}
	if b.source == "" {
		return nil, failure.New(failure.Machine, "SANDBOX_SOURCE is not set; start this program by tests/sandbox/sandbox")
	}
	r := b.release
	const own = "k3s-ha.core/sandbox/"
	ldflags := "-X " + own + "versions.linkedMinor=" + r.Minor + " -X " + own + "internal/k3s.Version=" + r.K3s()
	k3s, err := b.ownProgram("k3s", ldflags, "versions", "internal/k3s", "internal/ranges")
	if err != nil {
		return nil, err
	}
	// Helm asks the server for its version, so one program does for every release.
	helmJob, err := b.ownProgram("helm-job", "")
	if err != nil {
		return nil, err
	}
	return []entry{k3s, helmJob}, nil
}

// ownProgram is cmd/NAME, which is made of these paths, too.
func (b *Builder) ownProgram(name, ldflags string, paths ...string) (entry, error) {
	sources, err := sourceText(b.source, append(paths, "go.mod", "go.sum", "cmd/"+name)...)
	if err != nil {
		return entry{}, err
	}
	return entry{
		name:   name,
		inputs: []string{"own 1", sources, ldflags},
		make: func(dir string) error {
			return b.compile(b.source, "./cmd/"+name, filepath.Join(dir, name), ldflags, false)
		},
	}, nil
}

// bundle is what a node gets: /opt/k3s/bin and the image archives.
func (b *Builder) bundle(base entry, own []entry) entry {
	e := entry{name: "bundle", inputs: []string{"bundle 2", b.path(base)}}
	if b.real != "" {
		e.inputs = append(e.inputs, stamp(b.real))
		for _, archive := range airgapArchives(b.real) {
			e.inputs = append(e.inputs, stamp(archive))
		}
		e.make = func(dir string) error { return b.fillReal(dir) }
		return e
	}
	all := append(b.components(), own...)
	for _, c := range all {
		e.inputs = append(e.inputs, b.path(c))
	}
	images := b.imageArchives(base, own)
	e.inputs = append(e.inputs, b.path(images))
	e.make = func(dir string) error { return b.fill(dir, filepath.Join(b.path(base), "root"), all, images) }
	return e
}

// fill links everything together: all of it is on the cache's file system, and nothing of it is ever written to.
func (b *Builder) fill(dir, base string, programs []entry, images entry) error {
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	var files []string
	for _, p := range programs {
		files = append(files, filepath.Join(b.path(p), p.name))
	}
	plugins, err := filepath.Glob(filepath.Join(base, "usr/lib/cni/*"))
	if err != nil {
		return err
	}
	files = append(append(files, plugins...), filepath.Join(base, "usr/sbin/runc"))
	for _, f := range files {
		if f, err = filepath.EvalSymlinks(f); err != nil {
			return err
		}
		if err := os.Link(f, filepath.Join(bin, filepath.Base(f))); err != nil {
			return err
		}
	}
	archives, err := b.need(images)
	if err != nil {
		return err
	}
	for _, d := range []string{imagesDir, helmImagesDir} {
		if err := os.Symlink(filepath.Join(archives, d), filepath.Join(dir, d)); err != nil {
			return err
		}
	}
	return nil
}

// fillReal makes the bundle of a real k3s: the binary, which carries its own components, and the image archives of
// its release if they lie beside it.
func (b *Builder) fillReal(dir string) error {
	for _, d := range []string{"bin", imagesDir} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := copyProgram(b.real, filepath.Join(dir, "bin", "k3s")); err != nil {
		return err
	}
	archives := airgapArchives(b.real)
	if len(archives) == 0 {
		progress.Step("no k3s-airgap-images-*.tar* beside %s: the nodes have no way out, so no image can be pulled", b.real)
	}
	for _, a := range archives {
		if err := copyProgram(a, filepath.Join(dir, imagesDir, filepath.Base(a))); err != nil {
			return err
		}
	}
	return nil
}
