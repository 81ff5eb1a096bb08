// SPDX-License-Identifier: GPL-3.0-or-later

package build

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
)

// image is a container image of one static program.
type image struct {
	name    string // of the archive
	ref     string
	program string // in the image's root
	user    string // empty: root
	dir     string // of the bundle; nodes do not get every one
}

// The bundle's directories of images: for all nodes, and for those of clusters with traefik.
const (
	imagesDir     = "images"
	helmImagesDir = "helm-images"
)

func (i image) String() string {
	return fmt.Sprintf("image 5 %s %s %s %s %s", i.name, i.ref, i.program, i.user, i.dir)
}

func (b *Builder) images() []image {
	r := b.release
	return []image{
		{"pause", r.PauseImage(), "pause", "", imagesDir},
		{"coredns", r.CoreDNSImage(), "coredns", "", imagesDir},
		{"metrics-server", r.MetricsServerImage(), "metrics-server", "", imagesDir},
		{"local-path-provisioner", r.LocalPathImage(), "local-path-provisioner", "", imagesDir},
		{"busybox", r.BusyboxImage(), "busybox", "", imagesDir},
		// helm-controller's jobs may not run as root, and name no user: the image must.
		{"klipper-helm", r.HelmJobImage(), "helm-job", "1000", helmImagesDir},
		{"traefik", r.TraefikImage(), "traefik", "65532", helmImagesDir},
	}
}

// imageArchives are all of them, made from the components, our own programs and the base tree.
func (b *Builder) imageArchives(base entry, own []entry) entry {
	e := entry{name: "images", inputs: []string{b.path(base)}}
	programs := map[string]string{"busybox": filepath.Join(b.path(base), "root/bin/busybox")}
	for _, c := range append(b.components(), own...) {
		programs[c.name] = filepath.Join(b.path(c), c.name)
	}
	for _, i := range b.images() {
		e.inputs = append(e.inputs, i.String(), programs[i.program])
	}
	e.make = func(dir string) error {
		for _, d := range []string{imagesDir, helmImagesDir} {
			if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
				return err
			}
		}
		for _, i := range b.images() {
			if err := i.write(filepath.Join(dir, i.dir, i.name+".tar"), programs[i.program]); err != nil {
				return err
			}
		}
		return nil
	}
	return e
}

func (i image) write(archive, program string) error {
	make := programLayer
	config := imageConfig{Entrypoint: []string{"/" + i.program}}
	if i.program == "busybox" {
		make, config = busyboxLayer, imageConfig{Cmd: []string{"sh"}}
	}
	layer, err := make(program)
	if err != nil {
		return err
	}
	config.User = i.user
	config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	content, err := dockerArchive(i.ref, layer, config)
	if err != nil {
		return err
	}
	return os.WriteFile(archive, content, 0o644)
}

func programLayer(path string) ([]byte, error) {
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t := newTarball()
	t.dir("tmp", 0o1777)
	t.file(filepath.Base(path), 0o755, program)
	// k3s's manifest of local-path-provisioner starts it by name, from PATH.
	t.dir("usr", 0o755)
	t.dir("usr/bin", 0o755)
	t.link("usr/bin/"+filepath.Base(path), "../../"+filepath.Base(path))
	return t.close()
}

// busyboxLayer has a link for each of its applets.
func busyboxLayer(path string) ([]byte, error) {
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	list, err := run("/", nil, path, "--list")
	if err != nil {
		return nil, err
	}
	applets := strings.Fields(string(list))
	sort.Strings(applets)
	t := newTarball()
	t.dir("tmp", 0o1777)
	t.dir("bin", 0o755)
	t.file("bin/busybox", 0o755, program)
	for _, a := range applets {
		if a != "busybox" {
			t.link("bin/"+a, "busybox")
		}
	}
	return t.close()
}

type imageConfig struct {
	User       string   `json:",omitempty"`
	Entrypoint []string `json:",omitempty"`
	Cmd        []string `json:",omitempty"`
	Env        []string `json:",omitempty"`
}

// dockerArchive is the format that `docker save` writes and containerd imports.
func dockerArchive(ref string, layer []byte, config imageConfig) ([]byte, error) {
	digest := sha256Hex(layer)
	manifest, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": config,
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest}},
	})
	if err != nil {
		return nil, err
	}
	id := sha256Hex(manifest)
	index, err := json.Marshal([]map[string]any{{"Config": id + ".json", "RepoTags": []string{ref}, "Layers": []string{digest + "/layer.tar"}}})
	if err != nil {
		return nil, err
	}
	t := newTarball()
	t.file(id+".json", 0o644, manifest)
	t.file(digest+"/layer.tar", 0o644, layer)
	t.file("manifest.json", 0o644, index)
	return t.close()
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// tarball writes entries without times or owners, so the same content gives the same bytes.
type tarball struct {
	buffer bytes.Buffer
	writer *tar.Writer
	err    error
}

func newTarball() *tarball {
	t := &tarball{}
	t.writer = tar.NewWriter(&t.buffer)
	return t
}

func (t *tarball) add(h tar.Header, content []byte) {
	if t.err == nil {
		t.err = t.writer.WriteHeader(&h)
	}
	if t.err == nil {
		_, t.err = t.writer.Write(content)
	}
}

func (t *tarball) dir(name string, mode int64) {
	t.add(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}, nil)
}

func (t *tarball) file(name string, mode int64, content []byte) {
	t.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}, content)
}

func (t *tarball) link(name, target string) {
	t.add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, nil)
}

func (t *tarball) close() ([]byte, error) {
	if t.err == nil {
		t.err = t.writer.Close()
	}
	return t.buffer.Bytes(), t.err
}
