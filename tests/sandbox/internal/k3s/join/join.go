// SPDX-License-Identifier: GPL-3.0-or-later

// Package join is how a node gets what it needs from a server: certificates for
// keys that never leave the node, the CAs, the cluster's settings and the list
// of servers. Servers use it for their own agent too.
package join

import "errors"

// Purposes of the certificates that a node asks for.
const (
	ServingKubelet = "serving-kubelet"
	ClientKubelet  = "client-kubelet"
	ClientProxy    = "client-kube-proxy"
	ClientAgent    = "client-k3s-controller"
)

// Purposes lists them all.
var Purposes = []string{ServingKubelet, ClientKubelet, ClientProxy, ClientAgent}

const (
	pathCA      = "/cacerts"
	pathNode    = "/v1-k3s/node"
	pathServers = "/v1-k3s/servers"
	user        = "node"
)

// Request is what a node sends.
type Request struct {
	Name string            `json:"name"`
	IP   string            `json:"ip"`
	Keys map[string][]byte `json:"keys"` // purpose → public key in PEM
}

// Settings are the cluster's, equal on all nodes.
type Settings struct {
	ClusterCIDR   string `json:"clusterCIDR"`
	ServiceCIDR   string `json:"serviceCIDR"`
	ClusterDNS    string `json:"clusterDNS"`
	ClusterDomain string `json:"clusterDomain"`
}

// Reply is what a node gets.
type Reply struct {
	Certs    map[string][]byte `json:"certs"` // purpose → certificate chain in PEM
	ServerCA []byte            `json:"serverCA"`
	ClientCA []byte            `json:"clientCA"`
	Settings Settings          `json:"settings"`
	Servers  []string          `json:"servers"` // host:port of every apiserver
}

// ErrRefused marks an answer that trying again will not change.
var ErrRefused = errors.New("the server refused this node")
