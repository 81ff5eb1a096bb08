// SPDX-License-Identifier: GPL-3.0-or-later

package cluster

import (
	"os"
	"os/exec"
	"strings"

	"k3s-ha.core/sandbox/internal/cgroup"
	"k3s-ha.core/sandbox/internal/failure"
)

// tool is a program of the machine and the Debian package that brings it.
type tool struct{ program, pkg string }

var runTools = []tool{
	{"systemd-nspawn", "systemd-container"}, {"ip", "iproute2"}, {"nsenter", "util-linux"},
}

var buildTools = []tool{{"debootstrap", "debootstrap"}, {"gcc", "gcc"}}

// checkMachine refuses early and with words what could not work.
func checkMachine(tools []tool) (cgroup.Layout, error) {
	if os.Geteuid() != 0 {
		return cgroup.Layout{}, failure.New(failure.Machine, "the sandbox makes namespaces, mounts and control groups: it must be run as root")
	}
	// Debian leaves these out of an ordinary login's path.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin"); err != nil {
		return cgroup.Layout{}, err
	}
	var missing []string
	for _, t := range tools {
		if _, err := exec.LookPath(t.program); err != nil {
			missing = append(missing, t.pkg)
		}
	}
	if len(missing) > 0 {
		return cgroup.Layout{}, failure.New(failure.Machine, "Debian packages are missing: apt-get install %s", strings.Join(missing, " "))
	}
	return cgroup.Detect()
}

// kernelModules are what the nodes use and cannot load themselves.
var kernelModules = []string{
	"overlay", "bridge", "veth", "br_netfilter", "nf_conntrack", "nf_nat", "nf_tables", "nft_compat", "ip_tables", "ip6_tables",
	"xt_conntrack", "xt_comment", "xt_mark", "xt_nat", "xt_MASQUERADE", "xt_addrtype", "xt_statistic", "xt_multiport",
}

// loadModules asks for what may be a module. On a kernel that has it built in, or has no modules at all, there is
// nothing to do, and what is really missing shows when it is used.
func loadModules() {
	modprobe, err := exec.LookPath("modprobe")
	if err != nil {
		return
	}
	// One call for all: modprobe -a goes on past those it does not know.
	cmd := exec.Command(modprobe, append([]string{"-a", "-q"}, kernelModules...)...)
	_ = cmd.Run()
}
