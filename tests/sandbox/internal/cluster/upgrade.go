// SPDX-License-Identifier: GPL-3.0-or-later

package cluster

import (
	"fmt"
	"os"
	"strings"
	"time"

	"k3s-ha.core/sandbox/internal/api"
	"k3s-ha.core/sandbox/internal/failure"
	"k3s-ha.core/sandbox/internal/node"
	"k3s-ha.core/sandbox/internal/progress"
	"k3s-ha.core/sandbox/internal/state"
	"k3s-ha.core/sandbox/versions"
)

// Upgrade gives running nodes another release, one after the other, as an installer would: new programs, then a restart
// of k3s. Without names it is all nodes, servers first.
func Upgrade(o Options, manifests string, names []string) error {
	c, err := hold(o.Name)
	if err != nil {
		return err
	}
	defer c.lock.Release()
	if manifests != "" {
		if o.K3s != "" {
			return failure.New(failure.Usage, "--manifests is for the k3s built here: a real one has its own")
		}
		if st, err := os.Stat(manifests); err != nil || !st.IsDir() {
			return failure.New(failure.Usage, "--manifests %s is not a directory", manifests)
		}
	}
	chosen := c.Nodes
	if len(names) > 0 {
		chosen = nil
		for _, name := range names {
			n, err := c.Node(name)
			if err != nil {
				return err
			}
			chosen = append(chosen, n)
		}
	}
	if o.Minor == "" {
		o.Minor = c.Minor
	}
	release, err := versions.Find(o.Minor)
	if err != nil {
		return failure.New(failure.Usage, "%v", err)
	}
	built, err := Build(o)
	if err != nil {
		return err
	}
	for _, n := range chosen {
		now, err := node.Look(c.Cluster, n, c.group(n))
		if err != nil {
			return err
		}
		if now != node.Running {
			return failure.New(failure.Absent, "%s is %s; restore it first", n.Name, now)
		}
		progress.Step("%s: Kubernetes %s", n.Name, release.Kubernetes)
		if err := upgradeNode(c.Cluster, n, built.Bundle, manifests, o.Patience); err != nil {
			return err
		}
	}
	if len(chosen) == len(c.Nodes) {
		c.Minor, c.K3s, c.Bundle, c.Kubectl = release.Minor, o.K3s, built.Bundle, built.Kubectl
	}
	return c.Save()
}

func upgradeNode(c *state.Cluster, n state.Node, bundle, manifests string, patience time.Duration) error {
	if err := node.Install(c, n, bundle, manifests); err != nil {
		return err
	}
	restart, err := node.Command(c, n, "systemctl", "restart", node.Service(n))
	if err != nil {
		return err
	}
	if out, err := restart.CombinedOutput(); err != nil {
		return fmt.Errorf("restart of k3s on %s: %w: %s", n.Name, err, out)
	}
	version, err := node.Command(c, n, "k3s", "--version")
	if err != nil {
		return err
	}
	said, err := version.Output()
	if err != nil {
		return fmt.Errorf("k3s --version on %s: %w", n.Name, err)
	}
	words := strings.Fields(string(said)) // k3s version v1.36.3+k3s1 …
	if len(words) < 3 {
		return fmt.Errorf("k3s --version on %s: %q", n.Name, said)
	}
	client, err := api.New(c.Netns, c.Path("kubeconfig"), c.Server().Address, api.Patience)
	if err != nil {
		return err
	}
	defer client.Close()
	for deadline := time.Now().Add(patience); ; time.Sleep(300 * time.Millisecond) {
		kubelets, err := client.ReadyKubelets()
		if err == nil && (kubelets[n.Name] == words[2] || !c.HasKubelet(n)) {
			progress.Step("%s is Ready with %s", n.Name, words[2])
			return nil
		}
		if time.Now().After(deadline) {
			return failure.New(failure.NotReady, "%s is not Ready with %s after %v (last error: %v)", n.Name, words[2], patience, err)
		}
	}
}
