// SPDX-License-Identifier: GPL-3.0-or-later

// Package state is the record of one cluster on disk. Every name that the sandbox gives to something it starts
// (control groups, network namespaces, process files) is written here before that thing exists, so that down can end
// exactly that, whatever became of up.
package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"syscall"
	"time"

	"k3s-ha.core/sandbox/internal/failure"
	"k3s-ha.core/sandbox/internal/topology"
)

// DefaultRoot is short, because unix sockets under it must stay below 108 bytes.
const DefaultRoot = "/var/tmp/k3s-core-ha"

// Node is a node with the names of what makes it.
type Node struct {
	topology.Node
	Machine string `json:"machine"` // name for systemd-nspawn
	Group   string `json:"group"`   // control group in every hierarchy
	Netns   string `json:"netns"`
	IPv6    string `json:"ipv6,omitempty"` // beside the address of IPv4, where the cluster has both families
}

// Cluster is the record of one cluster.
type Cluster struct {
	Dir      string    `json:"-"`
	Name     string    `json:"name"`
	Topology string    `json:"topology"`
	Minor    string    `json:"minor"`
	K3s      string    `json:"k3s,omitempty"` // path of a real k3s binary, if one was given
	Token    string    `json:"token"`
	Netns    string    `json:"netns"` // the outer namespace with the bridge
	Nodes    []Node    `json:"nodes"`
	Bundle   string    `json:"bundle"` // directory with bin and images that the nodes were given
	Base     string    `json:"base"`   // the nodes' base tree
	Kubectl  []string  `json:"kubectl"`
	Created  time.Time `json:"created"`
	// ServerArgs are settings of k3s that the servers have besides: KEY=VALUE.
	ServerArgs []string `json:"server_args,omitempty"`
	Traefik    bool     `json:"traefik,omitempty"` // k3s packages it; without this the servers disable it
	Ready      bool     `json:"ready"`             // up came to its end once
	Fleet      int      `json:"fleet,omitempty"`
	Kwok       string   `json:"kwok,omitempty"` // the program that plays the fleet's kubelets
}

// Root is the directory that holds one directory per cluster.
func Root() string {
	if d := os.Getenv("SANDBOX_DIR"); d != "" {
		return d
	}
	return DefaultRoot
}

var nameRule = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,19}$`)

// CheckName refuses names that would not do as part of a file, namespace or machine name.
func CheckName(name string) error {
	if !nameRule.MatchString(name) {
		return failure.New(failure.Usage, "the name %q is not 1 to 20 of a-z, 0-9 and -", name)
	}
	return nil
}

// New plans the record of a cluster; nothing is written yet.
func New(name, topologyName string) (*Cluster, error) {
	nodes, err := topology.Nodes(topologyName)
	if err != nil {
		return nil, failure.New(failure.Usage, "%v", err)
	}
	fleet, err := topology.Fleet(topologyName)
	if err != nil {
		return nil, failure.New(failure.Usage, "%v", err)
	}
	prefix := "k3s-core-ha-" + name
	c := &Cluster{Fleet: fleet, Dir: filepath.Join(Root(), name), Name: name, Topology: topologyName, Netns: prefix, Created: time.Now().UTC()}
	for _, n := range nodes {
		id := prefix + "-" + n.Name
		c.Nodes = append(c.Nodes, Node{Node: n, Machine: id, Group: id, Netns: id})
	}
	return c, nil
}

// Load reads the record of a cluster.
func Load(name string) (*Cluster, error) {
	dir := filepath.Join(Root(), name)
	c, err := LoadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, failure.New(failure.Absent, "there is no cluster %q (looked in %s)", name, dir)
	}
	return c, err
}

// LoadDir reads the record in a directory.
func LoadDir(dir string) (*Cluster, error) {
	b, err := os.ReadFile(filepath.Join(dir, "cluster.json"))
	if err != nil {
		return nil, err
	}
	c := &Cluster{Dir: dir}
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("%s/cluster.json: %w", dir, err)
	}
	return c, nil
}

// All names the clusters that have a directory.
func All() ([]string, error) {
	entries, err := os.ReadDir(Root())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && nameRule.MatchString(e.Name()) {
			names = append(names, e.Name())
		}
	}
	sort.Strings(names)
	return names, nil
}

// Save writes the record in one step: a reader sees the old one or the new one.
func (c *Cluster) Save() error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return err
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return WriteFile(filepath.Join(c.Dir, "cluster.json"), append(b, '\n'), 0o600)
}

// WriteFile replaces a file in one step.
func WriteFile(path string, content []byte, mode os.FileMode) error {
	tmp := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.WriteFile(tmp, content, mode); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// Node finds a node by name.
func (c *Cluster) Node(name string) (Node, error) {
	for _, n := range c.Nodes {
		if n.Name == name {
			return n, nil
		}
	}
	return Node{}, failure.New(failure.Absent, "cluster %q has no node %q", c.Name, name)
}

// Server is the first server.
func (c *Cluster) Server() Node { return c.Nodes[0] }

// Servers is how many servers there are.
func (c *Cluster) Servers() int {
	count := 0
	for _, n := range c.Nodes {
		if n.Role == topology.Server {
			count++
		}
	}
	return count
}

// HasKubelet says whether a node registers with the cluster: a server without an agent does not.
func (c *Cluster) HasKubelet(n Node) bool {
	return n.Role == topology.Agent || !slices.Contains(c.ServerArgs, "disable-agent=true")
}

// DualStack says whether the nodes have addresses of both families.
func (c *Cluster) DualStack() bool { return c.Server().IPv6 != "" }

// NodeDir is where a node's files are.
func (c *Cluster) NodeDir(n Node) string { return filepath.Join(c.Dir, n.Name) }

// Path is a file of the cluster.
func (c *Cluster) Path(elem ...string) string {
	return filepath.Join(append([]string{c.Dir}, elem...)...)
}

// Lock keeps two ups or downs of one cluster apart. The kernel lets go of it when the process ends, however it ends.
func Lock(name string, patience time.Duration) (*Held, error) {
	if err := os.MkdirAll(Root(), 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(Root(), "."+name+".lock")
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil && isAt(f, path) {
			return &Held{f}, nil
		}
		f.Close()
		if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, err
		}
		if time.Now().After(deadline) {
			return nil, failure.New(failure.Busy, "another up, down or fault of cluster %q is at work", name)
		}
	}
}

// isAt says whether an open file is still the one at the path: its last holder may have removed it.
func isAt(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(mine, there)
}

// Held is a lock.
type Held struct{ file *os.File }

// Release lets go of the lock.
func (h *Held) Release() { h.file.Close() }

// Remove takes the lock's file away as well, with the last of the cluster.
func (h *Held) Remove() error { return os.Remove(h.file.Name()) }
