// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"k3s-ha.core/sandbox/internal/k3s/pki"
	"k3s-ha.core/sandbox/versions"
)

const (
	stateDir = "/run/k3s/containerd"
	// Socket is where containerd listens.
	Socket = stateDir + "/containerd.sock"

	capSysResource = 24 // bit number, linux/capability.h
)

func (a *Agent) startContainerd() error {
	limited, err := lacksSysResource("/proc/self/status")
	if err != nil {
		return err
	}
	if err := pki.WriteFile(a.etc("containerd", "config.toml"), a.containerdConfig(limited), 0o644); err != nil {
		return err
	}
	return a.start("containerd", "containerd", "--config="+a.etc("containerd", "config.toml"))
}

func (a *Agent) pauseImage() string {
	if a.c.PauseImage != "" {
		return a.c.PauseImage
	}
	return versions.Current().PauseImage()
}

// containerdConfig: a process without CAP_SYS_RESOURCE may not lower its
// oom_score_adj, and runc then fails to start any pod unless told not to try.
func (a *Agent) containerdConfig(limited bool) []byte {
	return fmt.Appendf(nil, `version = 3
root = %q
state = %q

[grpc]
  address = %q

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = %q

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = %t
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = [%q, "/usr/lib/cni"]
  conf_dir = %q

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
`, a.dir("containerd"), stateDir, Socket, a.pauseImage(), limited, a.c.Components, a.etc("cni", "net.d"))
}

// lacksSysResource reads the effective capabilities of a process.
func lacksSysResource(status string) (bool, error) {
	data, err := os.ReadFile(status)
	if err != nil {
		return false, err
	}
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if hex, ok := strings.CutPrefix(s.Text(), "CapEff:"); ok {
			caps, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return caps&(1<<capSysResource) == 0, err
		}
	}
	return false, fmt.Errorf("%s: no CapEff", status)
}
