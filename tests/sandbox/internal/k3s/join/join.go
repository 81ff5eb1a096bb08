// SPDX-License-Identifier: GPL-3.0-or-later

// Package join is how a node gets what it needs from a server: certificates for
// keys that never leave the node, the CAs, the cluster's settings and the list
// of servers. Servers use it for their own agent too. A joining server gets more:
// the keys of the CAs, and a place in etcd.
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
	pathShared  = "/v1-k3s/server-bootstrap"
	pathMember  = "/v1-k3s/etcd-member"
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

// Bootstrap is what all servers of a cluster share.
type Bootstrap struct {
	Files    map[string][]byte `json:"files"` // name below the server's tls directory → content
	Settings Settings          `json:"settings"`
}

// Member is a server that wants a place in etcd.
type Member struct {
	Name    string `json:"name"`
	PeerURL string `json:"peerURL"`
}

// Place is what it gets.
type Place struct {
	InitialCluster string `json:"initialCluster"`
}

// ErrNotYet marks an answer that a server wants to be asked for again.
var ErrNotYet = errors.New("not yet")

// ErrRefused marks an answer that trying again will not change.
var ErrRefused = errors.New("the server refused this node")
