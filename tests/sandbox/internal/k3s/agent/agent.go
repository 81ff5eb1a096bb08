// SPDX-License-Identifier: GPL-3.0-or-later

// Package agent is the part of k3s that every node runs: containerd, kubelet,
// kube-proxy, the pod network and the node's own annotations.
package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k3s-ha.core/sandbox/internal/k3s/balance"
	"k3s-ha.core/sandbox/internal/k3s/config"
	"k3s-ha.core/sandbox/internal/k3s/join"
	"k3s-ha.core/sandbox/internal/k3s/pki"
	"k3s-ha.core/sandbox/internal/k3s/supervise"
)

const (
	retryAfter     = time.Second
	balancerListen = "127.0.0.1:6444" // as k3s's agents
)

// Agent runs a node.
type Agent struct {
	c     *config.Config
	group *supervise.Group

	token   pki.Token
	reply   *join.Reply
	balance *balance.Balancer
}

// Start joins through the supervisor at address and starts everything a node
// runs; it returns once the kubelet is started. What speaks to the apiserver
// starts when ready lets it, if there is one.
func Start(ctx context.Context, c *config.Config, group *supervise.Group, address, token string, ready func(context.Context) error) (*Agent, error) {
	a := &Agent{c: c, group: group}
	var err error
	if a.token, err = pki.ParseToken(token); err != nil {
		return nil, err
	}
	for _, dir := range []string{a.etc("cni", "net.d"), a.etc("kubelet.conf.d"), a.etc("containerd"), a.images()} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	// Containerd needs nothing from a server: images are imported meanwhile.
	imported := make(chan error, 1)
	if err := a.startContainerd(); err != nil {
		return nil, err
	}
	go func() { imported <- a.importImages(ctx) }()
	if err := a.join(ctx, address); err != nil {
		return nil, err
	}
	if a.balance, err = balance.Listen(balancerListen, a.reply.Servers); err != nil {
		return nil, err
	}
	if c.Command == "server" {
		a.balance.Prefer(c.APIAddress())
	}
	go func() {
		if err := a.balance.Serve(ctx); err != nil {
			group.Logf("load balancer: %v", err)
		}
	}()
	if err := a.writeKubeconfigs(); err != nil {
		return nil, err
	}
	if ready != nil {
		if err := ready(ctx); err != nil {
			return nil, err
		}
	}
	if err := a.startProxy(); err != nil {
		return nil, err
	}
	if err := <-imported; err != nil {
		return nil, err
	}
	if err := a.startKubelet(); err != nil {
		return nil, err
	}
	go a.watchServers(ctx)
	return a, a.startNetwork(ctx)
}

func (a *Agent) dir(elem ...string) string {
	return a.c.Dir(append([]string{"agent"}, elem...)...)
}
func (a *Agent) etc(elem ...string) string { return a.dir(append([]string{"etc"}, elem...)...) }
func (a *Agent) images() string            { return a.dir("images") }

// join asks the server for certificates until it answers. A refusal is final:
// a wrong token does not get right by waiting.
func (a *Agent) join(ctx context.Context, address string) error {
	request := join.Request{Name: a.c.NodeName, IP: a.c.NodeIP, Keys: map[string][]byte{}}
	for _, purpose := range join.Purposes {
		key, err := pki.LoadKey(a.dir(purpose + ".key"))
		if err != nil {
			return err
		}
		if request.Keys[purpose], err = pki.EncodePublic(key.Public()); err != nil {
			return err
		}
	}
	told := ""
	for {
		reply, err := a.ask(ctx, address, request)
		if err == nil {
			a.reply = reply
			return errors.Join(a.saveCertificates(), a.saveServers(reply.Servers))
		}
		if errors.Is(err, join.ErrRefused) || ctx.Err() != nil {
			return err
		}
		if told != err.Error() { // once for each reason
			told = err.Error()
			a.group.Logf("waiting for a server: %v", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryAfter):
		}
	}
}

// ask tries the configured server, then those that were known at the last run:
// an agent must be able to start while that one server is down.
func (a *Agent) ask(ctx context.Context, address string, r join.Request) (*join.Reply, error) {
	known, err := a.savedSupervisors()
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, s := range append([]string{address}, known...) {
		client, err := join.Dial(ctx, s, a.token)
		if err == nil {
			var reply *join.Reply
			if reply, err = client.Node(ctx, r); err == nil {
				return reply, nil
			}
		}
		failed = append(failed, err)
	}
	return nil, errors.Join(failed...)
}

func (a *Agent) saveCertificates() error {
	for purpose, cert := range a.reply.Certs {
		if err := pki.WriteFile(a.dir(purpose+".crt"), cert, 0o644); err != nil {
			return err
		}
	}
	if err := pki.WriteFile(a.dir("server-ca.crt"), a.reply.ServerCA, 0o644); err != nil {
		return err
	}
	return pki.WriteFile(a.dir("client-ca.crt"), a.reply.ClientCA, 0o644)
}

func (a *Agent) writeKubeconfigs() error {
	for name, purpose := range map[string]string{
		"kubelet": join.ClientKubelet, "kubeproxy": join.ClientProxy, "k3scontroller": join.ClientAgent,
	} {
		k := pki.Kubeconfig{
			Server:   "https://" + a.balance.Address(),
			CAFile:   a.dir("server-ca.crt"),
			CertFile: a.dir(purpose + ".crt"),
			KeyFile:  a.dir(purpose + ".key"),
		}
		if err := k.Write(a.dir(name+".kubeconfig"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (a *Agent) start(name, binary string, args ...string) error {
	err := a.group.Start(supervise.Command{
		Name: name,
		Path: filepath.Join(a.c.Components, binary),
		Args: args,
		Env:  supervise.Environment(a.c.Components),
	})
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	return nil
}
