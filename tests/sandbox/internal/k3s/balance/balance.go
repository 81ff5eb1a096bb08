// SPDX-License-Identifier: GPL-3.0-or-later

// Package balance is the agents' own way to the servers: one address on
// loopback, behind which every new connection goes to a server that answers. So
// an agent goes on working when the server it talked to dies.
package balance

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

const dialTimeout = 3 * time.Second

// Balancer forwards TCP connections to one of several servers.
type Balancer struct {
	listener net.Listener

	lock    sync.Mutex
	servers []string // the one that answered last comes first
	prefer  string   // tried before all others each time, or empty
}

// Listen opens the local address.
func Listen(address string, servers []string) (*Balancer, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return &Balancer{listener: l, servers: slices.Clone(servers)}, nil
}

// Address is where clients connect to.
func (b *Balancer) Address() string { return b.listener.Addr().String() }

// Prefer names a server that each new connection tries first: a server's own
// node uses its own apiserver whenever that is there.
func (b *Balancer) Prefer(server string) {
	b.lock.Lock()
	defer b.lock.Unlock()
	b.prefer = server
}

// Set replaces the list of servers; the one in use stays first if it is still
// among them. An empty list is ignored: a wrong server beats none.
func (b *Balancer) Set(servers []string) {
	if len(servers) == 0 {
		return
	}
	b.lock.Lock()
	defer b.lock.Unlock()
	kept := []string{}
	for _, s := range b.servers {
		if slices.Contains(servers, s) {
			kept = append(kept, s)
		}
	}
	for _, s := range servers {
		if !slices.Contains(kept, s) {
			kept = append(kept, s)
		}
	}
	b.servers = kept
}

// Servers is the list in the order in which it is tried.
func (b *Balancer) Servers() []string {
	b.lock.Lock()
	defer b.lock.Unlock()
	list := slices.Clone(b.servers)
	if i := slices.Index(list, b.prefer); i > 0 {
		list = append([]string{b.prefer}, slices.Delete(list, i, i+1)...)
	}
	return list
}

// Serve forwards until ctx ends.
func (b *Balancer) Serve(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { b.listener.Close() })
	defer stop()
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		go b.forward(ctx, conn)
	}
}

func (b *Balancer) forward(ctx context.Context, client net.Conn) {
	defer client.Close()
	server := b.dial(ctx)
	if server == nil {
		return
	}
	defer server.Close()
	done := make(chan struct{}, 2)
	pipe := func(to, from net.Conn) {
		// Either end closing is how a connection ends, not a failure.
		_, _ = io.Copy(to, from)
		done <- struct{}{}
	}
	go pipe(server, client)
	go pipe(client, server)
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// dial tries the servers in order and moves those that failed behind.
func (b *Balancer) dial(ctx context.Context) net.Conn {
	for _, s := range b.Servers() {
		d := net.Dialer{Timeout: dialTimeout}
		conn, err := d.DialContext(ctx, "tcp", s)
		if err == nil {
			return conn
		}
		b.demote(s)
	}
	return nil
}

func (b *Balancer) demote(server string) {
	b.lock.Lock()
	defer b.lock.Unlock()
	if i := slices.Index(b.servers, server); i >= 0 {
		b.servers = append(slices.Delete(b.servers, i, i+1), server)
	}
}
