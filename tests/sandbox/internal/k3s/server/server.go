// SPDX-License-Identifier: GPL-3.0-or-later

// Package server is `k3s server`: the control plane, the supervisor that other
// nodes join through, the deploy loop and the controllers over nodes.
package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"k3s-ha.core/sandbox/internal/k3s/config"
	"k3s-ha.core/sandbox/internal/k3s/deploy"
	"k3s-ha.core/sandbox/internal/k3s/etcd"
	"k3s-ha.core/sandbox/internal/k3s/helm"
	"k3s-ha.core/sandbox/internal/k3s/join"
	"k3s-ha.core/sandbox/internal/k3s/nodes"
	"k3s-ha.core/sandbox/internal/k3s/supervise"
)

// Server is a running server.
type Server struct {
	c       *config.Config
	group   *supervise.Group
	id      *identity
	etcd    *etcd.Etcd // nil: one server, over sqlite
	serving chan struct{}
	others  servers
}

// Start gets what this server shares with others and answers joining nodes; the
// control plane comes up with API.
func Start(ctx context.Context, c *config.Config, group *supervise.Group) (*Server, error) {
	for _, dir := range []string{c.Dir("server", "db"), c.Dir("server", "cred"), c.Dir("server", "logs"), c.Dir("server", "manifests")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	s := &Server{c: c, group: group, serving: make(chan struct{})}
	several, err := s.several(ctx)
	if err != nil {
		return nil, err
	}
	if s.id, err = loadIdentity(c); err != nil {
		return nil, err
	}
	if err := s.id.writeKubeconfigs(c); err != nil {
		return nil, err
	}
	if several {
		if s.etcd, err = etcd.New(c, s.id.dir); err != nil {
			return nil, err
		}
	}
	return s, s.supervisor()
}

// supervisor serves the join endpoint for as long as the program runs.
func (s *Server) supervisor() error {
	h := &join.Handler{
		Token:    s.id.token,
		ServerCA: s.id.serverCA,
		ClientCA: s.id.clientCA,
		Settings: settings(s.c),
		Servers:  func() []string { return s.others.with(s.c) },
		Shared:   s.shared,
	}
	if s.etcd != nil {
		h.Admit = s.admit
	}
	cert, err := tls.LoadX509KeyPair(s.id.file("serving-supervisor.crt"), s.id.file("serving-supervisor.key"))
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", ":"+strconv.Itoa(config.SupervisorPort), &tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12,
	})
	if err != nil {
		return err
	}
	go func() {
		srv := &http.Server{Handler: h.Routes(), ReadHeaderTimeout: 10 * time.Second}
		if err := srv.Serve(l); err != nil {
			s.group.Logf("supervisor: %v", err)
		}
	}()
	return nil
}

// Token is the secret with which this server's own agent joins.
func (s *Server) Token() string { return s.id.token.Secret }

// Supervisor is the server's own join endpoint.
func (s *Server) Supervisor() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(config.SupervisorPort))
}

// Serving waits for this server's own apiserver. It is nil with one server, where
// there is no other that a kubelet could settle on meanwhile.
func (s *Server) Serving() func(context.Context) error {
	if s.etcd == nil {
		return nil
	}
	return func(ctx context.Context) error {
		select {
		case <-s.serving:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// API starts the datastore and the apiserver, waits for it and returns how the
// supervisor speaks to it.
func (s *Server) API(ctx context.Context) (*rest.Config, error) {
	p := s.controlPlane()
	var err error
	if s.etcd == nil {
		err = p.kine(kineEndpoint(s.c))
	} else {
		err = s.startEtcd(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err := p.apiserver(); err != nil {
		return nil, err
	}
	cfg, err := s.supervisorConfig()
	if err != nil {
		return nil, err
	}
	if err := waitReady(ctx, cfg); err != nil {
		return nil, err
	}
	close(s.serving)
	return cfg, nil
}

func (s *Server) controlPlane() *controlPlane { return &controlPlane{s.c, s.id, s.group, s.etcd} }

func (s *Server) supervisorConfig() (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", s.c.Dir("server", "cred", "supervisor.kubeconfig"))
	if err != nil {
		return nil, err
	}
	cfg.QPS, cfg.Burst = 100, 200
	return cfg, nil
}

// Stage writes the packaged manifests and returns their directory.
func (s *Server) Stage() (string, error) {
	dir := s.c.Dir("server", "manifests")
	values := deploy.Values{
		ClusterDNS: s.c.Ranges.DNS, ClusterDomain: s.c.ClusterDomain, LocalStoragePath: s.c.Dir("storage"),
	}
	err := deploy.Stage(dir, values)
	if err == nil {
		err = deploy.Overlay(dir, filepath.Join(s.c.Components, "manifests"), values)
	}
	if err != nil {
		return "", fmt.Errorf("staging: %w", err)
	}
	return dir, nil
}

// Ready waits for the apiserver, then starts what needs it: controller manager,
// scheduler, the deploy loop and the node controllers.
func (s *Server) Ready(ctx context.Context) error {
	cfg, err := s.API(ctx)
	if err != nil {
		return err
	}
	p := s.controlPlane()
	if err := p.controllerManager(); err != nil {
		return err
	}
	if err := p.scheduler(); err != nil {
		return err
	}
	manifests, err := s.Stage()
	if err != nil {
		return err
	}
	if err := deploy.CreateCRDs(ctx, cfg, !s.c.DisableHelm); err != nil {
		return err
	}
	first, err := newCluster(ctx, cfg)
	if err != nil {
		return err
	}
	d, err := deploy.New(cfg, s.c.NodeName, manifests, s.c.Disable, s.group.Logf)
	if err != nil {
		return err
	}
	go d.Run(ctx)
	if err := s.others.follow(ctx, cfg); err != nil {
		return err
	}
	go func() {
		if first {
			select {
			case <-d.Passed():
			case <-ctx.Done():
			}
		}
		s.controllers(ctx, cfg)
	}()
	return nil
}

// controllers keep the labels of this server's Node and, on one server of all,
// NodeHosts and charts.
func (s *Server) controllers(ctx context.Context, cfg *rest.Config) {
	duties := nodes.Duties{Labels: map[string]string{nodes.RoleControlPlane: "true"}}
	hosts := nodes.Duties{NodeHosts: !s.c.Disable["coredns"]}
	if s.etcd == nil {
		duties.NodeHosts = hosts.NodeHosts
		go s.helmController(ctx, cfg)
		s.nodeController(ctx, cfg, duties)
		return
	}
	duties.Labels[nodes.RoleEtcd] = "true"
	duties.Annotations = map[string]string{
		"etcd.k3s.cattle.io/node-name": s.etcd.Name(), "etcd.k3s.cattle.io/node-address": s.c.NodeIP,
	}
	go s.nodeController(ctx, cfg, duties)
	s.lead(ctx, cfg, func(ctx context.Context) {
		go s.helmController(ctx, cfg)
		s.nodeController(ctx, cfg, hosts)
	})
}

func (s *Server) helmController(ctx context.Context, cfg *rest.Config) {
	if s.c.DisableHelm {
		return
	}
	if err := helm.Start(ctx, cfg, s.c.NodeName); err != nil && ctx.Err() == nil {
		s.group.Fail(fmt.Errorf("helm-controller: %w", err))
	}
}

func (s *Server) nodeController(ctx context.Context, cfg *rest.Config, duties nodes.Duties) {
	n, err := nodes.New(cfg, s.c.NodeName, duties, s.group.Logf)
	if err != nil {
		s.group.Fail(err)
		return
	}
	n.Run(ctx)
}

// newCluster: no node has registered yet. Then the nodes wait for the manifests
// to be there: an event of a node that finds no ConfigMap for its name is lost,
// and a node that has nothing more to say would stay out of NodeHosts. Later
// starts are left as they are in k3s, where after disable and enable exactly
// that happens.
func newCluster(ctx context.Context, cfg *rest.Config) (bool, error) {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return false, err
	}
	list, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return false, err
	}
	return len(list.Items) == 0, nil
}

// waitReady asks /readyz until it says yes. An apiserver that starts refuses
// connections, then answers 500 while its hooks run: both mean not yet.
func waitReady(ctx context.Context, cfg *rest.Config) error {
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	for {
		if _, err := client.Discovery().RESTClient().Get().AbsPath("/readyz").Timeout(5 * time.Second).DoRaw(ctx); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}
