// SPDX-License-Identifier: GPL-3.0-or-later

package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"k3s-ha.core/sandbox/internal/k3s/config"
	"k3s-ha.core/sandbox/internal/k3s/etcd"
	"k3s-ha.core/sandbox/internal/k3s/join"
	"k3s-ha.core/sandbox/internal/k3s/pki"
	"k3s-ha.core/sandbox/internal/ranges"
)

const askAgain = time.Second

// The lease of the one server that works for all, with wrangler's timings, which
// k3s takes.
const (
	leaseName      = "k3s"
	leaseNamespace = "kube-system"
	leaseDuration  = 45 * time.Second
	renewDeadline  = 30 * time.Second
	retryPeriod    = 2 * time.Second
)

// several says whether this server is one of several, or may become that, and
// fetches what it shares with them if it is about to join.
func (s *Server) several(ctx context.Context) (bool, error) {
	member, err := etcd.Initialized(s.c)
	if err != nil || member {
		return member, err
	}
	if !s.c.ClusterInit && s.c.Server == "" {
		return false, nil
	}
	if _, err := os.Stat(sqlite(s.c)); err == nil {
		return false, errors.New("this server has its data in sqlite, and moving that to etcd is not supported: leave out cluster-init and server")
	}
	if s.c.Server == "" {
		return true, nil
	}
	return true, s.ask(ctx, s.bootstrap)
}

// ask repeats a question to the server that this one joins through, until it is
// answered or refused.
func (s *Server) ask(ctx context.Context, question func(context.Context, *join.Client) error) error {
	token, err := pki.ParseToken(s.c.Token)
	if err != nil {
		return err
	}
	told := ""
	for {
		client, err := join.Dial(ctx, s.c.Server, token)
		if err == nil {
			err = question(ctx, client)
		}
		if err == nil || errors.Is(err, join.ErrRefused) {
			return err
		}
		if text := err.Error(); text != told {
			s.group.Logf("joining through %s: %s", s.c.Server, text)
			told = text
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(askAgain):
		}
	}
}

// bootstrap writes the files that all servers share. It is done until this
// server is a member of etcd: half a set, from an attempt that was cut short, is
// overwritten.
func (s *Server) bootstrap(ctx context.Context, client *join.Client) error {
	shared, err := client.Bootstrap(ctx)
	if err != nil {
		return err
	}
	if own := settings(s.c); shared.Settings != own {
		return fmt.Errorf("%w: critical configuration differs between servers: theirs %+v, ours %+v", join.ErrRefused, shared.Settings, own)
	}
	for _, name := range sharedFiles() {
		content, ok := shared.Files[name]
		if !ok {
			return fmt.Errorf("%w: its answer lacks %s", join.ErrRefused, name)
		}
		if err := pki.WriteFile(s.c.Dir("server", "tls", name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func settings(c *config.Config) join.Settings {
	return join.Settings{
		ClusterCIDR: ranges.Join(c.Ranges.Cluster), ServiceCIDR: ranges.Join(c.Ranges.Service),
		ClusterDNS: ranges.Join(c.Ranges.DNS), ClusterDomain: c.ClusterDomain,
	}
}

// shared reads what a joining server gets.
func (s *Server) shared() (map[string][]byte, error) {
	if s.etcd == nil {
		return nil, errors.New("this cluster has one server, over sqlite: start that with cluster-init to have several")
	}
	files := map[string][]byte{}
	for _, name := range sharedFiles() {
		content, err := os.ReadFile(s.id.file(name))
		if err != nil {
			return nil, err
		}
		files[name] = content
	}
	return files, nil
}

// admit gives a joining server its place in etcd.
func (s *Server) admit(ctx context.Context, m join.Member) (join.Place, error) {
	initial, err := s.etcd.Admit(ctx, m.Name, m.PeerURL)
	if err != nil && !errors.Is(err, etcd.ErrTaken) {
		err = fmt.Errorf("%w: etcd: %w", join.ErrNotYet, err)
	}
	return join.Place{InitialCluster: initial}, err
}

// startEtcd starts this server's member, as the first or as one that joins, and
// waits until it can serve an apiserver.
func (s *Server) startEtcd(ctx context.Context) error {
	member, err := etcd.Initialized(s.c)
	if err != nil {
		return err
	}
	initial := ""
	if !member && s.c.Server != "" {
		err := s.ask(ctx, func(ctx context.Context, client *join.Client) error {
			var err error
			initial, err = client.Member(ctx, join.Member{Name: s.etcd.Name(), PeerURL: s.etcd.PeerURL()})
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := s.controlPlane().member(initial); err != nil {
		return err
	}
	cfg, err := s.supervisorConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	go etcd.NewManager(s.etcd, client, s.group.Logf).Run(ctx)
	return s.etcd.WaitVoting(ctx, func(reason string) { s.group.Logf("waiting for etcd: %s", reason) })
}

// lead runs work while this server holds the lease. Losing it ends the program,
// as it ends k3s: what was begun as the holder cannot be taken back one by one.
func (s *Server) lead(ctx context.Context, cfg *rest.Config, work func(context.Context)) {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		s.group.Fail(err)
		return
	}
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, leaseNamespace, leaseName, client.CoreV1(), client.CoordinationV1(),
		resourcelock.ResourceLockConfig{Identity: s.c.NodeName})
	if err != nil {
		s.group.Fail(err)
		return
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: work,
			OnStoppedLeading: func() {
				if ctx.Err() == nil {
					s.group.Fail(fmt.Errorf("leaderelection lost for %s", leaseName))
				}
			},
		},
	})
	if err != nil {
		s.group.Fail(err)
		return
	}
	elector.Run(ctx)
}

// firstServer is the apiserver beside the supervisor that this server joined
// through, or empty.
func firstServer(c *config.Config) string {
	host, _, err := net.SplitHostPort(c.Server)
	if err != nil {
		return ""
	}
	return net.JoinHostPort(host, config.APIPort)
}
