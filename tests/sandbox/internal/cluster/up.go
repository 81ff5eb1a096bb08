// SPDX-License-Identifier: GPL-3.0-or-later

// Package cluster brings whole clusters up and down.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"k3s-ha.core/sandbox/internal/api"
	"k3s-ha.core/sandbox/internal/build"
	"k3s-ha.core/sandbox/internal/cgroup"
	"k3s-ha.core/sandbox/internal/failure"
	"k3s-ha.core/sandbox/internal/machine"
	"k3s-ha.core/sandbox/internal/network"
	"k3s-ha.core/sandbox/internal/node"
	"k3s-ha.core/sandbox/internal/progress"
	"k3s-ha.core/sandbox/internal/state"
	"k3s-ha.core/sandbox/internal/topology"
	"k3s-ha.core/sandbox/versions"
)

// Options are what up can be told.
type Options struct {
	Name, Topology string
	Minor          string        // Kubernetes minor; empty: the default
	K3s            string        // a real k3s binary; empty: ours
	ServerArgs     []string      // settings of k3s for the servers: KEY=VALUE
	Traefik        bool          // leave traefik and helm-controller on
	Patience       time.Duration // for Ready nodes and Ready CoreDNS
}

// Build makes everything that up needs.
func Build(o Options) (build.Result, error) {
	if _, err := machine.Check(); err != nil {
		return build.Result{}, err
	}
	release, err := versions.Find(o.Minor)
	if err != nil {
		return build.Result{}, failure.New(failure.Usage, "%v", err)
	}
	b, err := build.New(release, o.K3s)
	if err != nil {
		return build.Result{}, err
	}
	built, err := b.Everything()
	if err != nil {
		return built, err
	}
	if fleet, err := topology.Fleet(o.Topology); err != nil || fleet == 0 {
		return built, err
	}
	built.Kwok, err = b.Kwok()
	return built, err
}

// Up starts a cluster and waits until its nodes and its DNS are ready.
func Up(o Options) error {
	settings, err := settingsOf(o)
	if err != nil {
		return err
	}
	layout, err := machine.Check()
	if err != nil {
		return err
	}
	lock, err := state.Lock(o.Name, 0)
	if err != nil {
		return err
	}
	defer lock.Release()
	old, err := state.Load(o.Name)
	switch {
	case err == nil && old.Ready:
		return again(old, o, layout)
	case err == nil:
		return failure.New(failure.Busy, "an earlier up of cluster %q did not come to its end; take it down first: sandbox --name %s down", o.Name, o.Name)
	case failure.Exit(err) != failure.Absent:
		return err
	}
	c, err := state.New(o.Name, o.Topology)
	if err != nil {
		return err
	}
	built, err := Build(o)
	if err != nil {
		return err
	}
	release, err := versions.Find(o.Minor)
	if err != nil {
		return err
	}
	c.Minor, c.K3s, c.Token, c.Bundle, c.Base = release.Minor, o.K3s, token(), built.Bundle, built.Base
	c.Kubectl, c.Kwok, c.ServerArgs, c.Traefik = built.Kubectl, built.Kwok, o.ServerArgs, o.Traefik
	if settings.DualStack() {
		for i := range c.Nodes {
			c.Nodes[i].IPv6 = topology.IPv6(c.Nodes[i].Address)
		}
	}
	progress.Step("cluster %q: %s, Kubernetes %s, control groups v%d, state in %s", c.Name, c.Topology, release.Minor, layout.Version, c.Dir)
	if err := c.Save(); err != nil {
		return err
	}
	if err := copySelf(c); err != nil {
		return err
	}
	if err := machine.LoadModules(); err != nil {
		return err
	}
	recorded, err := recordedNodes()
	if err != nil {
		return err
	}
	if err := machine.AllowInotify(nodesOf(c), recorded); err != nil {
		return err
	}
	if err := network.Up(c); err != nil {
		return failure.New(failure.Machine, "the network cannot be made: %v", err)
	}
	keys, err := sshKeys(c)
	if err != nil {
		return err
	}
	for _, n := range c.Nodes {
		if err := node.Prepare(c, n, node.Machine{CgroupVersion: layout.Version}, keys); err != nil {
			return err
		}
	}
	progress.Step("boot %s", strings.Join(nodeNames(c), ", "))
	for _, n := range c.Nodes {
		if err := node.Boot(c, n, layout.Group(n.Group)); err != nil {
			return err
		}
	}
	if err := waitBooted(c, c.Nodes, 60*time.Second); err != nil {
		return err
	}
	if err := waitReady(c, o.Patience); err != nil {
		return err
	}
	if c.Fleet > 0 {
		if err := startFleet(c, o.Patience); err != nil {
			return err
		}
	}
	c.Ready = true
	return c.Save()
}

func nodesOf(c *state.Cluster) machine.Nodes {
	return machine.Nodes{Servers: c.Servers(), Agents: len(c.Nodes) - c.Servers()}
}

// recordedNodes are the nodes of all clusters, this one too, whose record is written by now.
func recordedNodes() (machine.Nodes, error) {
	var sum machine.Nodes
	names, err := state.All()
	if err != nil {
		return sum, err
	}
	for _, name := range names {
		c, err := state.Load(name)
		if failure.Exit(err) == failure.Absent {
			continue // it is going, or its record is still to come: then it counts this one
		}
		if err != nil {
			return sum, err
		}
		n := nodesOf(c)
		sum.Servers += n.Servers
		sum.Agents += n.Agents
	}
	return sum, nil
}

// again is up on a cluster that is up.
func again(c *state.Cluster, o Options, layout cgroup.Layout) error {
	if c.Topology != o.Topology {
		return failure.New(failure.Usage, "cluster %q is up as %s; take it down first", c.Name, c.Topology)
	}
	if o.Minor != "" && o.Minor != c.Minor {
		return failure.New(failure.Usage, "cluster %q is up with Kubernetes %s; take it down first", c.Name, c.Minor)
	}
	if len(o.ServerArgs) > 0 && !slices.Equal(o.ServerArgs, c.ServerArgs) {
		return failure.New(failure.Usage, "cluster %q is up with other settings of its servers; take it down first", c.Name)
	}
	if o.Traefik && !c.Traefik {
		return failure.New(failure.Usage, "cluster %q is up without traefik; take it down first", c.Name)
	}
	running := 0
	for _, n := range c.Nodes {
		now, err := node.Look(c, n, layout.Group(n.Group))
		if err != nil {
			return err
		}
		if now == node.Running {
			running++
		}
	}
	if running == 0 {
		return failure.New(failure.Absent, "cluster %q was up, but none of its nodes runs (was the machine restarted?); take it down first", c.Name)
	}
	progress.Step("cluster %q is up already: %s since %s, %d of %d nodes running", c.Name, c.Topology, c.Created.Local().Format("15:04:05"), running, len(c.Nodes))
	return nil
}

// copySelf keeps the program beside the cluster, where the inventory's ProxyCommand finds it whatever is built later.
func copySelf(c *state.Cluster) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	return state.WriteFile(c.Path("sandbox"), b, 0o755)
}

func nodeNames(c *state.Cluster) []string {
	var names []string
	for _, n := range c.Nodes {
		names = append(names, n.Name)
	}
	return names
}

// waitBooted waits until the nodes take ssh.
func waitBooted(c *state.Cluster, nodes []state.Node, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for _, n := range nodes {
		for {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			conn, err := network.Dial(ctx, c.Netns, n.Address+":22")
			cancel()
			if err == nil {
				conn.Close()
				progress.Step("%s answers on ssh", n.Name)
				break
			}
			if alive, err := node.Alive(c, n); err != nil || !alive {
				return failure.New(failure.NotReady, "%s ended while it started: %s", n.Name, node.Console(c, n))
			}
			if time.Now().After(deadline) {
				return failure.New(failure.NotReady, "%s does not answer on ssh after %v; its console is in %s", n.Name, patience, filepath.Join(c.NodeDir(n), "console.log"))
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	return nil
}

// waitReady waits for the kubeconfig, then for all nodes and for CoreDNS, and says each that becomes ready.
func waitReady(c *state.Cluster, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	seen := map[string]bool{}
	waiting := "the server's kubeconfig"
	var client *api.Client
	for ; time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if client == nil {
			if err := fetchKubeconfig(c); err != nil {
				if errors.Is(err, os.ErrNotExist) {
					continue
				}
				return err
			}
			var err error
			if client, err = api.New(c.Netns, c.Path("kubeconfig"), c.Server().Address, api.Patience); err != nil {
				waiting = err.Error()
				client = nil
				continue // half written
			}
			progress.Step("%s has its kubeconfig", c.Server().Name)
			defer client.Close()
		}
		nodes, err := client.ReadyNodes()
		if err != nil {
			waiting = err.Error()
			continue
		}
		var missing []string
		for _, n := range c.Nodes {
			switch {
			case !c.HasKubelet(n):
			case !nodes[n.Name]:
				missing = append(missing, n.Name)
			case !seen[n.Name]:
				seen[n.Name] = true
				progress.Step("%s is Ready", n.Name)
			}
		}
		if len(missing) > 0 {
			sort.Strings(missing)
			waiting = "nodes that are not Ready: " + strings.Join(missing, ", ")
			continue
		}
		replicas, err := client.ReadyReplicas("kube-system", "coredns")
		if err != nil {
			waiting = err.Error()
			continue
		}
		if replicas > 0 {
			progress.Step("CoreDNS is Ready; try: sandbox --name %s kubectl get pods -A -o wide", c.Name)
			return nil
		}
		waiting = "CoreDNS"
	}
	return failure.New(failure.NotReady, "cluster %q is not ready after %v; it still waits for %s. It is left as it is: look with sandbox --name %s logs %s %s, end it with down",
		c.Name, patience, waiting, c.Name, c.Server().Name, node.Service(c.Server()))
}

// fetchKubeconfig makes the server's own kubeconfig fit for the cluster's network.
func fetchKubeconfig(c *state.Cluster) error {
	text, err := node.ReadFile(c, c.Server(), "etc/rancher/k3s/k3s.yaml")
	if err != nil {
		return err
	}
	text = bytes.ReplaceAll(text, []byte("https://127.0.0.1:6443"), fmt.Appendf(nil, "https://%s:6443", c.Server().Address))
	return state.WriteFile(c.Path("kubeconfig"), text, 0o600)
}
