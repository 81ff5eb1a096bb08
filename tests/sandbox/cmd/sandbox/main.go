// SPDX-License-Identifier: GPL-3.0-or-later

// The switch of a k3s-shaped cluster on this machine.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"k3s-ha.core/sandbox/internal/cluster"
	"k3s-ha.core/sandbox/internal/failure"
	"k3s-ha.core/sandbox/internal/inventory"
	"k3s-ha.core/sandbox/internal/state"
)

const help = `A k3s-shaped cluster of real nodes on this machine, for tests and demos.

  sandbox [--name NAME] VERB …

  up TOPOLOGY           start a cluster and wait until its nodes and its DNS are ready: single (one server), small (and two
                        agents), ha (three servers, an agent), zones (three and three), fleet:N (a server, N kwok nodes)
      --version MINOR     Kubernetes minor, such as 1.36
      --k3s PATH          a real k3s binary instead of the one built here
      --server-arg KEY=V  a setting of k3s for the servers, as in a file of config.yaml.d (KEY+=V adds to a list); repeatable
      --traefik           with traefik and helm-controller, which k3s has unless it is told otherwise, as it is here
      --timeout SECONDS   for nodes and DNS to become ready (120)
  upgrade [NODE…]       give running nodes another release, one by one: new programs, k3s restarted
      --version, --k3s    as for up
      --manifests DIR     packaged manifests that this release has in place of its own
  down                  end it, and all that belongs to it; --all: every cluster
  status                the cluster and its nodes
  kubectl ARGS…         kubectl as the cluster's administrator
  exec NODE CMD…        run a command in a node; standard input and exit status pass through
  net CMD…              run a command of this machine in the cluster's network
  inventory             the cluster as an Ansible inventory (YAML)
  kill NODE             the node loses power
  hang NODE             the node stands still, and its kernel answers on
  partition NODE        the node's cable is pulled
  restore NODE          undo any of these
  logs NODE UNIT [-f]   a unit's journal; more arguments go to journalctl
  build                 build what up needs, and start nothing
      --version, --k3s    as for up

  Clusters of different names live side by side. NAME is also taken from SANDBOX_NAME; it is "k3s" if there is none.
  State is in /var/tmp/k3s-core-ha/NAME (SANDBOX_DIR/NAME), what was built in ~/.cache/k3s-core-ha (K3S_CORE_HA_CACHE).

  Exit status: 0 done, 1 internal, 2 usage, 3 the machine lacks something, 4 no such cluster or node or not running,
  5 a build failed, 6 not ready in time, 7 another run is at work, 130 interrupted. exec, kubectl and net give their command's.
`

func main() {
	err := run(os.Args[1:])
	var status *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &status):
		os.Exit(passed(status))
	default:
		fmt.Fprintln(os.Stderr, "sandbox:", err)
		os.Exit(failure.Exit(err))
	}
}

// request is the command line, taken apart.
type request struct {
	name    string
	dir     string // --in: a cluster by its directory, as the inventory names it
	version string
	k3s     string
	changed string // --manifests
	server  []string
	traefik bool
	timeout time.Duration
	all     bool
	verb    string
	args    []string
}

// Verbs whose arguments after the first few belong to another program, options and all.
var passing = []string{"kubectl", "exec", "net", "logs", "proxy", "launch", "enter"}

var serverArg = regexp.MustCompile(`^[a-z][a-z-]*\+?=.`)

func parse(args []string) (request, error) {
	r := request{name: os.Getenv("SANDBOX_NAME"), timeout: 120 * time.Second}
	if r.name == "" {
		r.name = "k3s"
	}
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if !strings.HasPrefix(arg, "-") {
			if r.verb == "" {
				r.verb = arg
				if slices.Contains(passing, r.verb) {
					r.args = args
					return r, state.CheckName(r.name)
				}
			} else {
				r.args = append(r.args, arg)
			}
			continue
		}
		option, value, joined := strings.Cut(arg, "=")
		switch option {
		case "-h", "--help":
			r.verb = "help"
			return r, nil
		case "--all":
			r.all = true
			continue
		case "--traefik":
			r.traefik = true
			continue
		case "--name", "--in", "--version", "--k3s", "--manifests", "--timeout", "--server-arg":
		default:
			return r, failure.New(failure.Usage, "no option %s; sandbox --help lists them", option)
		}
		if !joined {
			if len(args) == 0 {
				return r, failure.New(failure.Usage, "%s wants a value", option)
			}
			value, args = args[0], args[1:]
		}
		switch option {
		case "--name":
			r.name = value
		case "--in":
			r.dir = value
		case "--version":
			r.version = strings.TrimPrefix(value, "v")
		case "--k3s":
			r.k3s = value
		case "--manifests":
			r.changed = value
		case "--server-arg":
			if !serverArg.MatchString(value) {
				return r, failure.New(failure.Usage, "--server-arg %s is not KEY=VALUE with a key of k3s's configuration", value)
			}
			r.server = append(r.server, value)
		case "--timeout":
			seconds, err := time.ParseDuration(value + "s")
			if err != nil || seconds <= 0 {
				return r, failure.New(failure.Usage, "--timeout %s is not a number of seconds", value)
			}
			r.timeout = seconds
		}
	}
	return r, state.CheckName(r.name)
}

// explainInterrupt ends up at once when it is interrupted. What it started stays: the record says what, and down ends it.
func explainInterrupt(name string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		fmt.Fprintf(os.Stderr, "sandbox: interrupted; sandbox --name %s down ends what was started\n", name)
		os.Exit(130)
	}()
}

// arguments checks how many there are.
func (r request) arguments(least, most int, usage string) error {
	if len(r.args) < least || (most >= 0 && len(r.args) > most) {
		return failure.New(failure.Usage, "usage: sandbox %s %s", r.verb, usage)
	}
	return nil
}

func run(args []string) error {
	r, err := parse(args)
	if err != nil {
		return err
	}
	switch r.verb {
	case "", "help":
		fmt.Print(help)
		if r.verb == "" {
			return failure.New(failure.Usage, "no verb given")
		}
		return nil
	case "up":
		if err := r.arguments(1, 1, "TOPOLOGY"); err != nil {
			return err
		}
		explainInterrupt(r.name)
		return cluster.Up(cluster.Options{
			Name: r.name, Topology: r.args[0], Minor: r.version, K3s: r.k3s, ServerArgs: r.server, Traefik: r.traefik,
			Patience: r.timeout,
		})
	case "upgrade":
		return cluster.Upgrade(cluster.Options{Name: r.name, Minor: r.version, K3s: r.k3s, Patience: r.timeout}, r.changed, r.args)
	case "build":
		if err := r.arguments(0, 0, ""); err != nil {
			return err
		}
		built, err := cluster.Build(cluster.Options{Minor: r.version, K3s: r.k3s})
		if err == nil {
			fmt.Println(built.Bundle)
		}
		return err
	case "down":
		if err := r.arguments(0, 0, "[--all]"); err != nil {
			return err
		}
		if r.all {
			return cluster.DownAll()
		}
		return cluster.Down(r.name)
	case "status":
		if err := r.arguments(0, 0, ""); err != nil {
			return err
		}
		return cluster.Status(os.Stdout, r.name)
	case "kill", "hang", "partition", "restore":
		if err := r.arguments(1, 1, "NODE"); err != nil {
			return err
		}
		return cluster.Fault(r.name, r.verb, r.args[0])
	case "inventory":
		if err := r.arguments(0, 0, ""); err != nil {
			return err
		}
		c, err := state.Load(r.name)
		if err != nil {
			return err
		}
		text, err := inventory.Write(c)
		if err != nil {
			return err
		}
		_, err = os.Stdout.Write(text)
		return err
	}
	return r.inside()
}
