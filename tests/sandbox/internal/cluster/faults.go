// SPDX-License-Identifier: GPL-3.0-or-later

package cluster

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"k3s-ha.core/sandbox/internal/api"
	"k3s-ha.core/sandbox/internal/cgroup"
	"k3s-ha.core/sandbox/internal/failure"
	"k3s-ha.core/sandbox/internal/machine"
	"k3s-ha.core/sandbox/internal/node"
	"k3s-ha.core/sandbox/internal/progress"
	"k3s-ha.core/sandbox/internal/state"
	"k3s-ha.core/sandbox/internal/topology"
)

// Fault does one of kill, hang, partition and restore to a node.
func Fault(name, fault, nodeName string) error {
	c, err := hold(name)
	if err != nil {
		return err
	}
	defer c.lock.Release()
	n, err := c.Node(nodeName)
	if err != nil {
		return err
	}
	group := c.group(n)
	if fault != "restore" {
		now, err := node.Look(c.Cluster, n, group)
		if err != nil {
			return err
		}
		if now == node.Off {
			return failure.New(failure.Absent, "%s is off already; restore it first", n.Name)
		}
	}
	switch fault {
	case "kill":
		err = node.Kill(c.Cluster, n, group)
	case "hang":
		err = node.Hang(group)
	case "partition":
		err = node.Partition(c.Cluster, n)
	case "restore":
		if err = node.Restore(c.Cluster, n, group); err == nil {
			err = waitBooted(c.Cluster, []state.Node{n}, 60*time.Second)
		}
	}
	if err != nil {
		return err
	}
	now, err := node.Look(c.Cluster, n, group)
	if err != nil {
		return err
	}
	progress.Step("%s is %s", n.Name, now)
	return nil
}

// RunningServer is the first server that runs, or the first of all if none does.
func RunningServer(c *state.Cluster, layout cgroup.Layout) (state.Node, error) {
	for _, n := range c.Nodes {
		if n.Role != topology.Server {
			continue
		}
		now, err := node.Look(c, n, layout.Group(n.Group))
		if err != nil {
			return n, err
		}
		if now == node.Running {
			return n, nil
		}
	}
	return c.Server(), nil
}

// Status writes how a cluster and its nodes are.
func Status(out io.Writer, name string) error {
	layout, err := machine.Check()
	if err != nil {
		return err
	}
	c, err := state.Load(name)
	if err != nil {
		return err
	}
	ready := map[string]bool{}
	server, err := RunningServer(c, layout)
	if err != nil {
		return err
	}
	client, err := api.New(c.Netns, c.Path("kubeconfig"), server.Address, api.Patience)
	if err == nil {
		defer client.Close()
		ready, err = client.ReadyNodes()
	}
	kubernetes := "answers"
	if err != nil {
		kubernetes = "does not answer: " + err.Error()
	}
	up := "up"
	if !c.Ready {
		up = "not fully up"
	}
	fmt.Fprintf(out, "cluster %s: %s, %s, Kubernetes %s, state in %s; API %s\n", c.Name, c.Topology, up, c.Minor, c.Dir, kubernetes)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tADDRESS\tMACHINE\tKUBERNETES")
	for _, n := range c.Nodes {
		now, err := node.Look(c, n, layout.Group(n.Group))
		if err != nil {
			return err
		}
		word := "NotReady"
		switch {
		case client == nil || kubernetes != "answers":
			word = "unknown"
		case ready[n.Name]:
			word = "Ready"
		case !c.HasKubelet(n):
			word = "no agent"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", n.Name, n.Address, now, word)
	}
	if c.Fleet > 0 {
		fmt.Fprintf(w, "fleet\t\t\t%d of %d Ready\n", fleetReady(c, ready), c.Fleet)
	}
	return w.Flush()
}
