// SPDX-License-Identifier: GPL-3.0-or-later

// Package k3s holds what every part of the k3s-shaped program agrees on.
package k3s

import "k3s-ha.core/sandbox/versions"

// Version is what `k3s --version` prints.
func Version() string { return "v" + versions.Current().Kubernetes + "+k3s1" }

// Image names one image that a cluster needs. There is no registry inside the
// sandbox, so each must lie as an archive in <data-dir>/agent/images.
type Image struct {
	Name string // base name of the archive
	Ref  string // full reference, as containerd stores it
	// Binary is where the program lies in the image. The packaged manifests
	// start it by the entrypoint or, local-path-provisioner, by name from PATH.
	Binary string
}

// PauseImage holds the namespaces of every pod.
var PauseImage = Image{"pause", "docker.io/rancher/mirrored-pause:3.6", "/pause"}

// Images lists all of them: pause, those of the packaged components, and what
// local-path-provisioner's helper pods run /bin/sh from.
func Images() []Image {
	v := versions.Current()
	return []Image{
		PauseImage,
		{"coredns", "docker.io/rancher/mirrored-coredns-coredns:" + v.CoreDNS, "/coredns"},
		{"metrics-server", "docker.io/rancher/mirrored-metrics-server:v" + v.MetricsServer, "/metrics-server"},
		{"local-path-provisioner", "docker.io/rancher/local-path-provisioner:v" + v.LocalPath, "/usr/bin/local-path-provisioner"},
		{"busybox", "docker.io/rancher/mirrored-library-busybox:1.37.0", "/bin/busybox"},
	}
}
