// SPDX-License-Identifier: GPL-3.0-or-later

//go:build e2e

package e2e

import (
	"runtime"
	"sync"
	"time"

	"k3s-ha.core/sandbox/internal/api"
	"k3s-ha.core/sandbox/internal/state"
)

// The thread that a program begins on cannot end, so it would stay in a cluster's network once a goroutine had entered
// that on it, and down would take this program for a part of the cluster. The main goroutine keeps it to itself.
func init() { runtime.LockOSThread() }

const (
	askEvery = 200 * time.Millisecond
	askFor   = 2 * time.Second
)

// apiWatch asks one server all the time and knows its longest silence.
type apiWatch struct {
	server      string
	done        chan struct{}
	wait        sync.WaitGroup
	read, write time.Duration
}

// watchAPI begins to ask: a read that goes through to the datastore, and a write.
func (s sandbox) watchAPI(server string) *apiWatch {
	s.t.Helper()
	c, err := state.Load(s.name)
	if err != nil {
		s.t.Fatal(err)
	}
	n, err := c.Node(server)
	if err != nil {
		s.t.Fatal(err)
	}
	w := &apiWatch{server: server, done: make(chan struct{})}
	for gap, ask := range map[*time.Duration]func(*api.Client) error{
		&w.read: func(client *api.Client) error {
			_, err := client.Get("/api/v1/namespaces/kube-system/configmaps/coredns")
			return err
		},
		&w.write: func(client *api.Client) error { return client.Annotate("default", "e2e/asked", time.Now().String()) },
	} {
		client, err := api.New(c.Netns, c.Path("kubeconfig"), n.Address, askFor)
		if err != nil {
			s.t.Fatal(err)
		}
		w.wait.Go(func() {
			defer client.Close()
			*gap = w.longest(func() error { return ask(client) })
		})
	}
	return w
}

func (w *apiWatch) longest(ask func() error) time.Duration {
	last, longest := time.Now(), time.Duration(0)
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.done:
			return max(longest, time.Since(last))
		case <-tick.C:
		}
		if ask() == nil {
			longest, last = max(longest, time.Since(last)), time.Now()
		}
	}
}

// stop gives the longest times without an answer.
func (w *apiWatch) stop() (read, write time.Duration) {
	close(w.done)
	w.wait.Wait()
	return w.read, w.write
}
