// SPDX-License-Identifier: GPL-3.0-or-later

// Package versions holds the pinned version of everything the sandbox builds, one release per Kubernetes minor.
package versions

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
)

//go:embed versions.json
var file []byte

// linkedMinor is set by the linker when a program is built for one minor: -X k3s-ha.core/sandbox/versions.linkedMinor=1.36.
var linkedMinor string

// Release is what goes together with one Kubernetes minor. Versions are written without a leading v.
type Release struct {
	Minor         string `json:"-"`
	Kubernetes    string `json:"kubernetes"`
	Kine          string `json:"kine"`
	Etcd          string `json:"etcd"`
	Containerd    string `json:"containerd"`
	CoreDNS       string `json:"coredns"`
	MetricsServer string `json:"metrics_server"`
	LocalPath     string `json:"local_path"`
	Kwok          string `json:"kwok"`
	// Staging names modules of Kubernetes' own tree whose copy of this very release is not to be had, and the release
	// next to it that is.
	Staging map[string]string `json:"staging"`
}

// Current is the release this program was built for, or the default one.
func Current() Release {
	r, err := Find(linkedMinor)
	if err != nil {
		panic(err) // the linker was given a minor that versions.json lacks: a fault of the build, not of its user
	}
	return r
}

// Find returns the release of a minor such as "1.36"; the empty string names the default.
func Find(minor string) (Release, error) {
	var all struct {
		Default  string             `json:"default"`
		Releases map[string]Release `json:"releases"`
	}
	if err := json.Unmarshal(file, &all); err != nil {
		return Release{}, fmt.Errorf("versions.json: %w", err)
	}
	if minor == "" {
		minor = all.Default
	}
	r, ok := all.Releases[minor]
	if !ok {
		known := make([]string, 0, len(all.Releases))
		for m := range all.Releases {
			known = append(known, m)
		}
		sort.Strings(known)
		return Release{}, fmt.Errorf("no Kubernetes minor %q; there are %s", minor, strings.Join(known, ", "))
	}
	r.Minor = minor
	return r, nil
}

// K3s is the version that a k3s of this release would report.
func (r Release) K3s() string { return "v" + r.Kubernetes + "+k3s1" }

// The references of the images, as k3s names them.

func (r Release) PauseImage() string { return "docker.io/rancher/mirrored-pause:3.6" }
func (r Release) CoreDNSImage() string {
	return "docker.io/rancher/mirrored-coredns-coredns:" + r.CoreDNS
}
func (r Release) MetricsServerImage() string {
	return "docker.io/rancher/mirrored-metrics-server:v" + r.MetricsServer
}
func (r Release) LocalPathImage() string {
	return "docker.io/rancher/local-path-provisioner:v" + r.LocalPath
}
func (r Release) BusyboxImage() string { return "docker.io/rancher/mirrored-library-busybox:1.37.0" }

// Two of k3s's images are programs of the sandbox's own here: the tag says so.

// HelmJobImage is what helm-controller's jobs run.
func (r Release) HelmJobImage() string { return "docker.io/rancher/klipper-helm:" + ownTag }

// TraefikImage is what the chart traefik deploys.
func (r Release) TraefikImage() string { return "docker.io/rancher/mirrored-library-traefik:" + ownTag }

const ownTag = "sandbox"
