// SPDX-License-Identifier: GPL-3.0-or-later

package etcd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k3s-ha.core/sandbox/internal/k3s"
	"k3s-ha.core/sandbox/internal/k3s/config"
	"k3s-ha.core/sandbox/internal/k3s/pki"
)

const (
	clientPort = "2379"
	peerPort   = "2380"

	suffixBytes = 4 // of randomness in a member's name
)

// Authorities that all servers share, below the server's tls directory.
const (
	ServerCA = "etcd/server-ca"
	PeerCA   = "etcd/peer-ca"
)

// Etcd is this server's member.
type Etcd struct {
	c      *config.Config
	tls    string // <data-dir>/server/tls/etcd
	name   string
	client *Client
}

// DataDir is where a server's member keeps its data.
func DataDir(c *config.Config) string { return c.Dir("server", "db", "etcd") }

// Initialized says whether this server is a member of a cluster already. Then
// its configuration of how to join is of no more use.
func Initialized(c *config.Config) (bool, error) {
	_, err := os.Stat(filepath.Join(DataDir(c), "member", "wal"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// New makes the member's certificates and name. tlsDir is the server's; the
// authorities in it must be the cluster's.
func New(c *config.Config, tlsDir string) (*Etcd, error) {
	e := &Etcd{c: c, tls: filepath.Join(tlsDir, "etcd")}
	serverCA, err := pki.LoadAuthority(tlsDir, ServerCA)
	if err != nil {
		return nil, err
	}
	peerCA, err := pki.LoadAuthority(tlsDir, PeerCA)
	if err != nil {
		return nil, err
	}
	names := []string{"localhost", c.NodeName, "127.0.0.1", c.NodeIP}
	for _, cert := range []struct {
		authority *pki.Authority
		name      string
		subject   pki.Subject
	}{
		{serverCA, "server-client", pki.Subject{Name: "etcd-server", SANs: names}},
		{serverCA, "client", pki.Subject{Name: "etcd-client"}},
		{peerCA, "peer-server-client", pki.Subject{Name: "etcd-peer", SANs: names}},
	} {
		if err := cert.authority.Issue(e.tls, cert.name, cert.subject); err != nil {
			return nil, err
		}
	}
	if e.name, err = memberName(c); err != nil {
		return nil, err
	}
	ca, cert, key := e.ClientFiles()
	e.client, err = newClient(e.Endpoint(), ca, cert, key)
	return e, err
}

// memberName is the node's with a suffix, made once: a node that is set up anew
// under its old name is another member.
func memberName(c *config.Config) (string, error) {
	file := filepath.Join(DataDir(c), "name")
	data, err := os.ReadFile(file)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return strings.TrimSpace(string(data)), err
	}
	suffix := make([]byte, suffixBytes)
	if _, err := rand.Read(suffix); err != nil {
		return "", err
	}
	name := c.NodeName + "-" + hex.EncodeToString(suffix)
	if err := os.MkdirAll(DataDir(c), 0o700); err != nil {
		return "", err
	}
	return name, pki.WriteFile(file, []byte(name+"\n"), 0o600)
}

// nodeName is the node that a member runs on.
func nodeName(member string) string {
	if cut := len(member) - 2*suffixBytes - 1; cut > 0 && member[cut] == '-' {
		return member[:cut]
	}
	return member
}

// Name is the member's.
func (e *Etcd) Name() string { return e.name }

// PeerURL is where other members reach this one.
func (e *Etcd) PeerURL() string { return "https://" + net.JoinHostPort(e.c.NodeIP, peerPort) }

// Endpoint is where this server's own apiserver reaches it.
func (e *Etcd) Endpoint() string { return "https://" + net.JoinHostPort("127.0.0.1", clientPort) }

// ClientFiles are what a client of etcd needs.
func (e *Etcd) ClientFiles() (ca, cert, key string) {
	return filepath.Join(e.tls, "server-ca.crt"), filepath.Join(e.tls, "client.crt"), filepath.Join(e.tls, "client.key")
}

// Arguments of the member. initialCluster is empty for the first of a cluster;
// etcd ignores it once it has data. The two timings are k3s's.
func (e *Etcd) Arguments(initialCluster string) []string {
	file := func(name string) string { return filepath.Join(e.tls, name) }
	state := "existing"
	if initialCluster == "" {
		state, initialCluster = "new", e.name+"="+e.PeerURL()
	}
	nodeURL := "https://" + net.JoinHostPort(e.c.NodeIP, clientPort)
	return k3s.Arguments{
		"advertise-client-urls":       nodeURL,
		"cert-file":                   file("server-client.crt"),
		"client-cert-auth":            "true",
		"data-dir":                    DataDir(e.c),
		"election-timeout":            "5000",
		"heartbeat-interval":          "500",
		"initial-advertise-peer-urls": e.PeerURL(),
		"initial-cluster":             initialCluster,
		"initial-cluster-state":       state,
		"key-file":                    file("server-client.key"),
		"listen-client-urls":          e.Endpoint() + "," + nodeURL,
		"listen-metrics-urls":         "http://127.0.0.1:2381",
		"listen-peer-urls":            e.PeerURL(),
		"log-level":                   "warn",
		"name":                        e.name,
		"peer-cert-file":              file("peer-server-client.crt"),
		"peer-client-cert-auth":       "true",
		"peer-key-file":               file("peer-server-client.key"),
		"peer-trusted-ca-file":        file("peer-ca.crt"),
		"snapshot-count":              "10000",
		"trusted-ca-file":             file("server-ca.crt"),
	}.With(nil)
}

// Quiet knows the log lines of a member on a busy machine, hundreds at a time.
func Quiet(line string) bool {
	return strings.Contains(line, `"msg":"apply request took too long"`) || strings.Contains(line, `"msg":"request stats"`)
}

// WaitVoting waits until the member has a vote and there is a leader: before
// that an apiserver could not work over it. told is called once for each reason
// to wait.
func (e *Etcd) WaitVoting(ctx context.Context, told func(string)) error {
	last := ""
	for {
		s, err := e.client.Status(ctx)
		reason := ""
		switch {
		case err != nil:
			reason = "it does not answer"
		case s.Learner:
			reason = "it has not been promoted from learner to voting member"
		case s.Leader == 0:
			reason = "there is no leader"
		default:
			return nil
		}
		if reason != last {
			last = reason
			told(reason)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// Admit makes a joining server a member and returns the initial cluster for its
// first start. It can be repeated: a server that died on its way finds the place
// it was given. An error means not yet, but for ErrTaken.
func (e *Etcd) Admit(ctx context.Context, name, peerURL string) (initialCluster string, err error) {
	members, err := e.client.Members(ctx)
	if err != nil {
		return "", err
	}
	known, err := place(members, name, peerURL)
	if err != nil {
		return "", err
	}
	if !known {
		if err := e.client.AddLearner(ctx, peerURL); err != nil {
			return "", err
		}
		if members, err = e.client.Members(ctx); err != nil {
			return "", err
		}
	}
	return initial(members, name, peerURL), nil
}

// ErrTaken means that another member has the address.
var ErrTaken = errors.New("another member of etcd has this address")

// place looks for the joining server among the members. One without a name that
// has its address is its own, from an attempt that came to no start.
func place(members []Member, name, peerURL string) (known bool, err error) {
	for _, m := range members {
		if !slices.Contains(m.PeerURLs, peerURL) {
			continue
		}
		if m.Name != "" && m.Name != name {
			return false, fmt.Errorf("%w: %s at %s; delete the Node %s first", ErrTaken, m.Name, peerURL, nodeName(m.Name))
		}
		return true, nil
	}
	return false, nil
}

// initial writes the members as etcd's initial-cluster takes them.
func initial(members []Member, name, peerURL string) string {
	var list []string
	for _, m := range members {
		n := m.Name
		if slices.Contains(m.PeerURLs, peerURL) {
			n = name
		}
		for _, u := range m.PeerURLs {
			list = append(list, n+"="+u)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}
