// SPDX-License-Identifier: GPL-3.0-or-later

// Command k3s is shaped as k3s is to an operator: the same command lines, files,
// units and objects in the cluster, over the real Kubernetes.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"k3s-ha.core/sandbox/internal/k3s"
	"k3s-ha.core/sandbox/internal/k3s/agent"
	"k3s-ha.core/sandbox/internal/k3s/config"
	"k3s-ha.core/sandbox/internal/k3s/server"
	"k3s-ha.core/sandbox/internal/k3s/supervise"
)

const usage = `Usage: k3s COMMAND [flags]

  server    run a server (control plane and node)
  agent     run a node
  kubectl   run kubectl with this server's kubeconfig
  ctr       run ctr against this node's containerd
  --version print the version

Flags of server and agent are read from /etc/rancher/k3s/config.yaml and
config.yaml.d/*.yaml first, then from the command line.
`

func main() {
	if err := run(filepath.Base(os.Args[0]), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "k3s: "+err.Error())
		os.Exit(1)
	}
}

// run dispatches by command, or by the name the program was started under:
// kubectl, ctr and crictl are links to it.
func run(name string, args []string) error {
	if name == "kubectl" || name == "ctr" || name == "crictl" {
		args = append([]string{name}, args...)
	}
	if len(args) == 0 {
		fmt.Print(usage)
		return nil
	}
	switch args[0] {
	case "server", "agent":
		return node(args)
	case "kubectl":
		if os.Getenv("KUBECONFIG") == "" {
			if err := os.Setenv("KUBECONFIG", "/etc/rancher/k3s/k3s.yaml"); err != nil {
				return err
			}
		}
		return replace("kube", args)
	case "ctr":
		return replace("ctr", append([]string{"ctr", "--address=" + agent.Socket, "--namespace=k8s.io"}, args[1:]...))
	case "crictl":
		return errors.New("crictl is not among the components; ctr is")
	case "-v", "--version", "version":
		fmt.Printf("k3s version %s\ngo version %s\n", k3s.Version(), runtime.Version())
		return nil
	case "-h", "--help", "help":
		fmt.Print(usage)
		return nil
	}
	return fmt.Errorf("no command %q", args[0])
}

// replace runs a component in this process's place.
func replace(binary string, argv []string) error {
	dir := os.Getenv("K3S_COMPONENTS")
	if dir == "" {
		dir = config.DefaultComponents
	}
	path := filepath.Join(dir, binary)
	if binary == "kube" {
		argv = append([]string{binary}, argv...)
	}
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, argv, os.Environ()))
}

func node(args []string) error {
	warn := func(s string) { fmt.Fprintln(os.Stderr, "k3s: warning: "+s) }
	c, err := config.Load(args, os.Getenv, os.Environ(), warn)
	if err != nil {
		return err
	}
	signalled, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, cancel := context.WithCancelCause(signalled)
	defer cancel(nil)
	group := supervise.New(os.Stderr)
	group.OnFail(cancel)
	// Containers live on: their shims belong to nobody here.
	defer group.Stop()
	group.Logf("starting %s %s, node %s at %s", c.Command, k3s.Version(), c.NodeName, c.NodeIP)
	if c.Command == "server" {
		err = runServer(ctx, c, group)
	} else {
		_, err = agent.Start(ctx, c, group, c.Server, c.Token, nil)
	}
	if err == nil {
		group.Logf("k3s is up and running")
		if err = supervise.NotifyReady(); err == nil {
			<-ctx.Done()
		}
	}
	if signalled.Err() == nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		group.Logf("stopping the components; containers keep running")
		return nil
	}
	return err
}

func runServer(ctx context.Context, c *config.Config, group *supervise.Group) error {
	s, err := server.Start(ctx, c, group)
	if err != nil {
		return err
	}
	joined := make(chan error, 1)
	go func() {
		if c.DisableAgent {
			joined <- nil
			return
		}
		_, err := agent.Start(ctx, c, group, s.Supervisor(), s.Token(), s.Serving())
		joined <- err
	}()
	ready := make(chan error, 1)
	go func() { ready <- s.Ready(ctx) }()
	for range 2 {
		select {
		case err = <-joined:
		case err = <-ready:
		}
		if err != nil {
			return err
		}
	}
	return nil
}
