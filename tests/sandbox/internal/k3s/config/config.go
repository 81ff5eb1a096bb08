// SPDX-License-Identifier: GPL-3.0-or-later

package config

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"k3s-ha.core/sandbox/internal/ranges"
)

// DefaultComponents is where the components' binaries lie; K3S_COMPONENTS names
// another directory.
const DefaultComponents = "/opt/k3s/bin"

// SupervisorPort is where servers hand out what a joining node needs.
const SupervisorPort = 9345

// APIPort is the apiserver's.
const APIPort = "6443"

// Config is one node's configuration, all defaults filled in.
type Config struct {
	Command  string // "server" or "agent"
	NodeArgs string // annotation k3s.io/node-args
	NodeEnv  string // annotation k3s.io/node-env

	DataDir        string
	Components     string // directory of the components' binaries
	Token          string
	Server         string // host:port of the supervisor to join, or empty
	ClusterInit    bool
	TLSSANs        []string
	Ranges         ranges.Ranges
	ClusterDomain  string
	Disable        map[string]bool
	DisableAgent   bool // control plane only
	DisableHelm    bool // no helm-controller, and none of its resource definitions
	EgressMode     string
	Kubeconfig     string
	KubeconfigMode os.FileMode
	PauseImage     string

	NodeName   string
	NodeIP     string   // the first of them: the one that others reach the node's own services by
	NodeIPs    []string // one, or IPv4 and IPv6
	NodeLabels []string
	NodeTaints []string

	APIServerArgs, ControllerArgs, SchedulerArgs, KubeletArgs, ProxyArgs []string
}

// Load reads the command line (without the program's name), the files and the
// environment into a Config.
func Load(args []string, env func(string) string, environ []string, warn func(string)) (*Config, error) {
	merged, err := Merge(args, env, warn)
	if err != nil {
		return nil, err
	}
	v, err := parse(merged, env)
	if err != nil {
		return nil, err
	}
	c := &Config{
		Command:        merged[0],
		NodeArgs:       NodeArgs(merged),
		NodeEnv:        NodeEnv(environ),
		DataDir:        v.last("data-dir", "/var/lib/rancher/k3s"),
		Components:     env("K3S_COMPONENTS"),
		Token:          v.last("token", ""),
		TLSSANs:        ranges.Split(v["tls-san"]),
		ClusterDomain:  v.last("cluster-domain", "cluster.local"),
		Disable:        map[string]bool{},
		EgressMode:     v.last("egress-selector-mode", "agent"),
		Kubeconfig:     v.last("write-kubeconfig", "/etc/rancher/k3s/k3s.yaml"),
		PauseImage:     v.last("pause-image", ""),
		NodeName:       v.last("node-name", ""),
		NodeLabels:     v["node-label"],
		NodeTaints:     v["node-taint"],
		APIServerArgs:  v["kube-apiserver-arg"],
		ControllerArgs: v["kube-controller-manager-arg"],
		SchedulerArgs:  v["kube-scheduler-arg"],
		KubeletArgs:    v["kubelet-arg"],
		ProxyArgs:      v["kube-proxy-arg"],
	}
	if c.Components == "" {
		c.Components = DefaultComponents
	}
	if c.ClusterInit, err = v.on("cluster-init"); err != nil {
		return nil, err
	}
	if c.DisableAgent, err = v.on("disable-agent"); err != nil {
		return nil, err
	}
	if c.DisableHelm, err = v.on("disable-helm-controller"); err != nil {
		return nil, err
	}
	for _, d := range ranges.Split(v["disable"]) {
		c.Disable[d] = true
	}
	mode, err := strconv.ParseUint(v.last("write-kubeconfig-mode", "0600"), 8, 32)
	if err != nil {
		return nil, fmt.Errorf("flag --write-kubeconfig-mode: %w", err)
	}
	c.KubeconfigMode = os.FileMode(mode)
	if c.Ranges, err = ranges.Parse(v["cluster-cidr"], v["service-cidr"], v["cluster-dns"]); err != nil {
		return nil, err
	}
	if file := v.last("token-file", ""); file != "" && c.Token == "" {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		c.Token = strings.TrimSpace(string(data))
	}
	if s := v.last("server", ""); s != "" {
		if c.Server, err = supervisor(s); err != nil {
			return nil, fmt.Errorf("flag --server: %w", err)
		}
	}
	if c.NodeName == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, err
		}
		c.NodeName = strings.ToLower(host)
	}
	if c.NodeIPs = ranges.Split(v["node-ip"]); len(c.NodeIPs) == 0 {
		ip, err := defaultIP()
		if err != nil {
			return nil, err
		}
		c.NodeIPs = []string{ip}
	}
	c.NodeIP = c.NodeIPs[0]
	if c.Command == "server" && !c.DisableAgent && c.Ranges.DualStack() != (len(c.NodeIPs) == 2) {
		return nil, fmt.Errorf("cluster-cidr %s and node-ip %s are not of the same families",
			ranges.Join(c.Ranges.Cluster), strings.Join(c.NodeIPs, ","))
	}
	if c.Command == "agent" {
		if c.Server == "" {
			return nil, fmt.Errorf("--server is required")
		}
		if c.Token == "" {
			return nil, fmt.Errorf("--token is required")
		}
	}
	return c, nil
}

// Dir is a path below the data directory.
func (c *Config) Dir(elem ...string) string {
	return filepath.Join(append([]string{c.DataDir}, elem...)...)
}

// APIAddress is host:port under which nodes reach this server's apiserver.
func (c *Config) APIAddress() string { return net.JoinHostPort(c.NodeIP, APIPort) }

// supervisor turns --server (https://HOST:6443, as k3s takes it) into the
// address of our join endpoint, which has a port of its own.
func supervisor(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil {
		return "", err
	}
	if u.Scheme != "https" || u.Hostname() == "" {
		return "", fmt.Errorf("%q is not an https URL", s)
	}
	return net.JoinHostPort(u.Hostname(), strconv.Itoa(SupervisorPort)), nil
}

// defaultIP is the source address of the default route, or the first address
// that is not loopback. Nothing is sent.
func defaultIP() (string, error) {
	if conn, err := net.Dial("udp4", "192.0.2.1:9"); err == nil {
		ip := conn.LocalAddr().(*net.UDPAddr).IP.String()
		return ip, conn.Close()
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			return n.IP.String(), nil
		}
	}
	return "", fmt.Errorf("no address of this node found: set node-ip")
}
