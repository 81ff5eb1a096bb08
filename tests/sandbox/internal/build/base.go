// SPDX-License-Identifier: GPL-3.0-or-later

package build

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"k3s-ha.core/sandbox/internal/failure"
)

// The nodes' system. Debian 12's systemd runs on both layouts of control groups; later ones do not.
const suite = "bookworm"

var basePackages = []string{
	"systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "python3", "ca-certificates", "procps", "kmod",
	"iproute2", "iptables", "conntrack", "runc", "containernetworking-plugins", "busybox-static",
}

// Units that have no sense in a node.
var maskedUnits = []string{
	"console-getty.service", "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
}

func (b *Builder) base() entry {
	return entry{
		name:   "base",
		inputs: append(append([]string{"base 1", suite}, basePackages...), maskedUnits...),
		about:  " (Debian " + suite + " by debootstrap, 1 to 2 minutes)",
		make: func(dir string) error {
			root := filepath.Join(dir, "root")
			mirror, err := mirror()
			if err != nil {
				return err
			}
			args := []string{"--variant=minbase", "--include=" + strings.Join(basePackages, ","), suite, root}
			if mirror != "" {
				args = append(args, mirror)
			}
			if _, err := run(dir, nil, "debootstrap", args...); err != nil {
				return err
			}
			return finishBase(root)
		},
	}
}

// finishBase makes the tree fit for many machines: nothing in it belongs to one.
func finishBase(root string) error {
	remove := []string{"var/cache/apt/archives", "var/lib/apt/lists", "etc/machine-id", "etc/hostname", "etc/resolv.conf"}
	keys, err := filepath.Glob(filepath.Join(root, "etc/ssh/ssh_host_*"))
	if err != nil {
		return err
	}
	for _, k := range keys {
		remove = append(remove, strings.TrimPrefix(k, root))
	}
	for _, r := range remove {
		if err := os.RemoveAll(filepath.Join(root, r)); err != nil {
			return err
		}
	}
	for _, d := range []string{"var/cache/apt/archives/partial", "var/lib/apt/lists/partial", "var/log/journal"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			return err
		}
	}
	// A name server that the kubelet and CoreDNS accept and that nobody is behind: the cluster has no way out.
	if err := os.WriteFile(filepath.Join(root, "etc/resolv.conf"), []byte("nameserver 198.18.0.1\n"), 0o644); err != nil {
		return err
	}
	units := filepath.Join(root, "etc/systemd/system")
	for _, u := range maskedUnits {
		if err := link("/dev/null", filepath.Join(units, u)); err != nil {
			return err
		}
	}
	return link("/lib/systemd/system/multi-user.target", filepath.Join(units, "default.target"))
}

func link(target, path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(target, path)
}

// mirror is where this machine gets its Debian packages from: DEBIAN_MIRROR, else apt's own sources on Debian, else
// empty for debootstrap's default.
func mirror() (string, error) {
	if m := os.Getenv("DEBIAN_MIRROR"); m != "" {
		return m, nil
	}
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return "", failure.New(failure.Machine, "which system is this? %v", err)
	}
	if !strings.Contains("\n"+string(release), "\nID=debian\n") {
		return "", nil
	}
	files, err := filepath.Glob("/etc/apt/sources.list.d/*")
	if err != nil {
		return "", err
	}
	for _, f := range append([]string{"/etc/apt/sources.list"}, files...) {
		text, err := os.ReadFile(f)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		if m := firstMirror(string(text)); m != "" {
			return m, nil
		}
	}
	return "", nil
}

// firstMirror reads either format of apt's sources. Of apt's ways only http and https are debootstrap's, too.
func firstMirror(text string) string {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || (fields[0] != "deb" && fields[0] != "URIs:") {
			continue
		}
		for _, f := range fields[1:] {
			if (strings.HasPrefix(f, "http://") || strings.HasPrefix(f, "https://")) && !strings.Contains(f, "security") {
				return f
			}
		}
	}
	return ""
}
