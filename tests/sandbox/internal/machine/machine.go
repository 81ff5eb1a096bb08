// SPDX-License-Identifier: GPL-3.0-or-later

// Package machine looks whether this machine has what the sandbox needs.
package machine

import (
	"os"
	"os/exec"
	"strings"

	"k3s-ha.core/sandbox/internal/cgroup"
	"k3s-ha.core/sandbox/internal/failure"
	"k3s-ha.core/sandbox/internal/progress"
)

// Tool is a program of the machine and the Debian package that brings it.
type Tool struct{ Program, Package string }

// RunTools are needed to run clusters, BuildTools to build what they are made of.
var (
	RunTools   = []Tool{{"systemd-nspawn", "systemd-container"}, {"ip", "iproute2"}}
	BuildTools = []Tool{{"debootstrap", "debootstrap"}, {"gcc", "gcc"}}
)

// Check refuses early and with words what could not work, and finds the layout of control groups.
func Check() (cgroup.Layout, error) {
	if os.Geteuid() != 0 {
		return cgroup.Layout{}, failure.New(failure.Machine, "the sandbox makes namespaces, mounts and control groups: it must be run as root")
	}
	// Debian leaves these out of an ordinary login's path.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin"); err != nil {
		return cgroup.Layout{}, err
	}
	if err := Require(RunTools); err != nil {
		return cgroup.Layout{}, err
	}
	return cgroup.Detect()
}

// Require names the packages of the tools that are missing.
func Require(tools []Tool) error {
	var missing []string
	for _, t := range tools {
		if _, err := exec.LookPath(t.Program); err != nil {
			missing = append(missing, t.Package)
		}
	}
	if len(missing) > 0 {
		return failure.New(failure.Machine, "Debian packages are missing: apt-get install %s", strings.Join(missing, " "))
	}
	return nil
}

// kernelModules are what the nodes use and cannot load themselves.
var kernelModules = []string{
	"overlay", "bridge", "veth", "br_netfilter", "nf_conntrack", "nf_nat", "nf_tables", "nft_compat", "ip_tables", "ip6_tables",
	"xt_conntrack", "xt_comment", "xt_mark", "xt_nat", "xt_MASQUERADE", "xt_addrtype", "xt_statistic", "xt_multiport",
}

// LoadModules asks for what may be a module, and refuses a kernel that then has no overlay. Other things that a kernel
// may lack show when they are used.
func LoadModules() error {
	if modprobe, err := exec.LookPath("modprobe"); err == nil {
		// Most kernels have some of them built in or know them by other names, and modprobe fails for those.
		out, err := exec.Command(modprobe, append([]string{"-a"}, kernelModules...)...).CombinedOutput()
		if err != nil && os.Getenv("SANDBOX_VERBOSE") != "" {
			progress.Step("modprobe: %s", strings.TrimSpace(string(out)))
		}
	}
	filesystems, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return err
	}
	if !strings.Contains(string(filesystems), "\toverlay\n") {
		return failure.New(failure.Machine, "the kernel has no overlay file system")
	}
	return nil
}
