// SPDX-License-Identifier: GPL-3.0-or-later

package server

import (
	"path/filepath"
	"strconv"
	"strings"

	"k3s-ha.core/sandbox/internal/k3s"
	"k3s-ha.core/sandbox/internal/k3s/config"
	"k3s-ha.core/sandbox/internal/k3s/etcd"
	"k3s-ha.core/sandbox/internal/k3s/supervise"
	"k3s-ha.core/sandbox/internal/ranges"
)

// ControlPlane starts a server's datastore, apiserver, controller manager and
// scheduler.
type controlPlane struct {
	c     *config.Config
	id    *identity
	group *supervise.Group
	etcd  *etcd.Etcd // nil: one server, over sqlite
}

// kine is the datastore of one server: sqlite.
func (p *controlPlane) kine(endpoint string) error {
	return p.start("kine", "kine",
		"--listen-address="+endpoint,
		"--metrics-bind-address=0",
		"--endpoint=sqlite://"+sqlite(p.c)+"?_journal=WAL&cache=shared&_busy_timeout=30000&_txlock=immediate",
	)
}

func sqlite(c *config.Config) string { return c.Dir("server", "db", "state.db") }

// member runs etcd.
func (p *controlPlane) member(initialCluster string) error {
	return p.group.Start(supervise.Command{
		Name:  "etcd",
		Path:  filepath.Join(p.c.Components, "etcd"),
		Args:  p.etcd.Arguments(initialCluster),
		Env:   supervise.Environment(p.c.Components),
		Quiet: etcd.Quiet,
	})
}

func (p *controlPlane) apiserver() error {
	f := p.id.file
	args := k3s.Arguments{
		"advertise-address":                  p.c.NodeIP,
		"allow-privileged":                   "true",
		"anonymous-auth":                     "false",
		"api-audiences":                      issuer(p.c) + ",k3s",
		"authorization-mode":                 "Node,RBAC",
		"bind-address":                       "0.0.0.0",
		"cert-dir":                           f("temporary-certs"),
		"client-ca-file":                     f("client-ca.crt"),
		"enable-admission-plugins":           "NodeRestriction",
		"enable-bootstrap-token-auth":        "true",
		"kubelet-certificate-authority":      f("server-ca.crt"),
		"kubelet-client-certificate":         f("client-kube-apiserver.crt"),
		"kubelet-client-key":                 f("client-kube-apiserver.key"),
		"kubelet-preferred-address-types":    "InternalIP,ExternalIP,Hostname",
		"profiling":                          "false",
		"proxy-client-cert-file":             f("client-auth-proxy.crt"),
		"proxy-client-key-file":              f("client-auth-proxy.key"),
		"requestheader-allowed-names":        "system:auth-proxy",
		"requestheader-client-ca-file":       f("request-header-ca.crt"),
		"requestheader-extra-headers-prefix": "X-Remote-Extra-",
		"requestheader-group-headers":        "X-Remote-Group",
		"requestheader-username-headers":     "X-Remote-User",
		"secure-port":                        config.APIPort,
		"service-account-issuer":             issuer(p.c),
		"service-account-key-file":           f("service.key"),
		"service-account-signing-key-file":   f("service.key"),
		"service-cluster-ip-range":           ranges.Join(p.c.Ranges.Service),
		"service-node-port-range":            "30000-32767",
		"storage-backend":                    "etcd3",
		"tls-cert-file":                      f("serving-kube-apiserver.crt"),
		"tls-private-key-file":               f("serving-kube-apiserver.key"),
	}
	if p.etcd != nil {
		args["etcd-servers"] = p.etcd.Endpoint()
		args["etcd-cafile"], args["etcd-certfile"], args["etcd-keyfile"] = p.etcd.ClientFiles()
	} else {
		args["etcd-servers"] = kineEndpoint(p.c)
	}
	// k3s reaches pods through its agents' tunnels in every mode but disabled,
	// and then needs the aggregator to pick endpoints itself.
	if p.c.EgressMode != "disabled" {
		args["enable-aggregator-routing"] = "true"
	}
	return p.kube("kube-apiserver", args, p.c.APIServerArgs)
}

func (p *controlPlane) controllerManager() error {
	f, kubeconfig := p.id.file, p.c.Dir("server", "cred", "controller.kubeconfig")
	return p.kube("kube-controller-manager", k3s.Arguments{
		"allocate-node-cidrs":       "true",
		"authentication-kubeconfig": kubeconfig,
		"authorization-kubeconfig":  kubeconfig,
		"bind-address":              "127.0.0.1",
		"cluster-cidr":              ranges.Join(p.c.Ranges.Cluster),
		"cluster-signing-kube-apiserver-client-cert-file": f("client-ca.crt"),
		"cluster-signing-kube-apiserver-client-key-file":  f("client-ca.key"),
		"cluster-signing-kubelet-client-cert-file":        f("client-ca.crt"),
		"cluster-signing-kubelet-client-key-file":         f("client-ca.key"),
		"cluster-signing-kubelet-serving-cert-file":       f("server-ca.crt"),
		"cluster-signing-kubelet-serving-key-file":        f("server-ca.key"),
		"cluster-signing-legacy-unknown-cert-file":        f("server-ca.crt"),
		"cluster-signing-legacy-unknown-key-file":         f("server-ca.key"),
		"configure-cloud-routes":                          "false",
		"kubeconfig":                                      kubeconfig,
		"leader-elect":                                    p.electing(),
		"profiling":                                       "false",
		"root-ca-file":                                    f("server-ca.crt"),
		"secure-port":                                     "10257",
		"service-account-private-key-file":                f("service.key"),
		"service-cluster-ip-range":                        ranges.Join(p.c.Ranges.Service),
		"use-service-account-credentials":                 "true",
	}, p.c.ControllerArgs)
}

func (p *controlPlane) scheduler() error {
	kubeconfig := p.c.Dir("server", "cred", "scheduler.kubeconfig")
	return p.kube("kube-scheduler", k3s.Arguments{
		"authentication-kubeconfig": kubeconfig,
		"authorization-kubeconfig":  kubeconfig,
		"bind-address":              "127.0.0.1",
		"kubeconfig":                kubeconfig,
		"leader-elect":              p.electing(),
		"profiling":                 "false",
		"secure-port":               "10259",
	}, p.c.SchedulerArgs)
}

func kineEndpoint(c *config.Config) string { return "unix://" + c.Dir("server", "kine.sock") }

// electing: with one server over sqlite there is no one to elect among.
func (p *controlPlane) electing() string { return strconv.FormatBool(p.etcd != nil) }

func (p *controlPlane) kube(name string, args k3s.Arguments, user []string) error {
	return p.start(name, "kube", append([]string{name}, args.With(user)...)...)
}

func (p *controlPlane) start(name, binary string, args ...string) error {
	return p.group.Start(supervise.Command{
		Name: name,
		Path: filepath.Join(p.c.Components, binary),
		Args: args,
		Env:  supervise.Environment(p.c.Components),
		// In k3s the components share one process: one that loses its lease ends all.
		Fatal: func(line string) bool { return strings.Contains(strings.ToLower(line), "leaderelection lost") },
	})
}

func issuer(c *config.Config) string { return "https://kubernetes.default.svc." + c.ClusterDomain }
