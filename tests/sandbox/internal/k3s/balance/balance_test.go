// SPDX-License-Identifier: GPL-3.0-or-later

package balance

import (
	"context"
	"io"
	"net"
	"slices"
	"testing"
)

// answer serves its name to every connection.
func answer(t *testing.T, name string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := c.Write([]byte(name)); err != nil {
				t.Error(err)
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close() })
	return l
}

func ask(t *testing.T, b *Balancer) string {
	t.Helper()
	c, err := net.Dial("tcp", b.Address())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	data, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestGoesOnWithAnotherServer(t *testing.T) {
	one, two := answer(t, "one"), answer(t, "two")
	b, err := Listen("127.0.0.1:0", []string{one.Addr().String(), two.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- b.Serve(ctx) }()
	if got := ask(t, b); got != "one" {
		t.Errorf("got %q", got)
	}
	one.Close()
	for range 2 {
		if got := ask(t, b); got != "two" {
			t.Errorf("after the first server's end: got %q", got)
		}
	}
	if b.Servers()[0] != two.Addr().String() {
		t.Error("the server that answered does not come first")
	}
	two.Close()
	if got := ask(t, b); got != "" {
		t.Errorf("without a server: got %q", got)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestSet(t *testing.T) {
	b := &Balancer{servers: []string{"b", "a"}}
	b.Set([]string{"a", "b", "c"})
	if !slices.Equal(b.Servers(), []string{"b", "a", "c"}) {
		t.Errorf("got %v", b.Servers())
	}
	b.Set([]string{"a"})
	b.Set(nil)
	if !slices.Equal(b.Servers(), []string{"a"}) {
		t.Errorf("got %v", b.Servers())
	}
}

// A preferred server comes first whoever answered last.
func TestPrefer(t *testing.T) {
	b := &Balancer{servers: []string{"b", "own", "c"}}
	b.Prefer("own")
	if got := b.Servers(); !slices.Equal(got, []string{"own", "b", "c"}) {
		t.Errorf("got %v", got)
	}
	b.demote("own")
	if got := b.Servers(); !slices.Equal(got, []string{"own", "b", "c"}) {
		t.Errorf("after it failed once: got %v", got)
	}
}
