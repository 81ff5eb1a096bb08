// SPDX-License-Identifier: GPL-3.0-or-later

// Package k3s holds what every part of the k3s-shaped program agrees on.
package k3s

// Version is what `k3s --version` prints; the build sets it by -ldflags.
var Version = "v1.36.3+k3s1"

// Image names one image that a cluster needs. There is no registry inside the
// sandbox, so each must lie as an archive in <data-dir>/agent/images.
type Image struct {
	Name string // base name of the archive
	Ref  string // full reference, as containerd stores it
}

// Images of the packaged components, and the pause image of every pod.
var (
	PauseImage             = Image{"pause", "docker.io/rancher/mirrored-pause:3.6"}
	CoreDNSImage           = Image{"coredns", "docker.io/rancher/mirrored-coredns-coredns:1.14.7"}
	MetricsServerImage     = Image{"metrics-server", "docker.io/rancher/mirrored-metrics-server:v0.9.0"}
	LocalPathImage         = Image{"local-path-provisioner", "docker.io/rancher/local-path-provisioner:v0.0.30"}
	LocalPathHelperImage   = Image{"busybox", "docker.io/rancher/mirrored-library-busybox:1.37.0"}
	LocalPathHelperCommand = "/bin/sh" // what the helper pod runs; the image must have it
)

// Images lists all of them.
func Images() []Image {
	return []Image{PauseImage, CoreDNSImage, MetricsServerImage, LocalPathImage, LocalPathHelperImage}
}
