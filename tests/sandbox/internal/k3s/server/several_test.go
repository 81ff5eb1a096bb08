// SPDX-License-Identifier: GPL-3.0-or-later

package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k3s-ha.core/sandbox/internal/k3s/config"
	"k3s-ha.core/sandbox/internal/k3s/etcd"
	"k3s-ha.core/sandbox/internal/k3s/join"
	"k3s-ha.core/sandbox/internal/k3s/pki"
	"k3s-ha.core/sandbox/internal/k3s/supervise"
)

func serverConfig(t *testing.T, args ...string) *config.Config {
	t.Helper()
	c, err := config.Load(append([]string{"server", "--node-ip=192.0.2.12", "--node-name=server-2", "--data-dir=" + t.TempDir()}, args...),
		func(string) string { return "" }, nil, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newServer(c *config.Config) *Server { return &Server{c: c, group: supervise.New(io.Discard)} }

// firstServerOf serves the join endpoint of a cluster's first server, which has
// all the shared files.
func firstServerOf(t *testing.T, c *config.Config) (address string, first *Server) {
	t.Helper()
	id, err := loadIdentity(c)
	if err != nil {
		t.Fatal(err)
	}
	first = newServer(c)
	first.id = id
	if first.etcd, err = etcd.New(c, id.dir); err != nil {
		t.Fatal(err)
	}
	cert := filepath.Join(t.TempDir(), "loopback")
	if err := id.serverCA.Issue(filepath.Dir(cert), "loopback", pki.Subject{Name: "s", SANs: []string{"127.0.0.1"}}); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cert+".crt", cert+".key")
	if err != nil {
		t.Fatal(err)
	}
	h := &join.Handler{Token: id.token, ServerCA: id.serverCA, ClientCA: id.clientCA, Settings: settings(c), Shared: first.shared}
	s := httptest.NewUnstartedServer(h.Routes())
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), first
}

func TestOneServerAlone(t *testing.T) {
	s := newServer(serverConfig(t))
	if several, err := s.several(context.Background()); several || err != nil {
		t.Errorf("%t, %v", several, err)
	}
}

func TestFirstOfSeveral(t *testing.T) {
	s := newServer(serverConfig(t, "--cluster-init"))
	if several, err := s.several(context.Background()); !several || err != nil {
		t.Errorf("%t, %v", several, err)
	}
}

func TestDataInSQLiteIsNotMoved(t *testing.T) {
	c := serverConfig(t, "--cluster-init")
	if err := pki.WriteFile(sqlite(c), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newServer(c).several(context.Background()); err == nil || !strings.Contains(err.Error(), "sqlite") {
		t.Errorf("got %v", err)
	}
}

func TestJoiningServerGetsTheAuthorities(t *testing.T) {
	address, first := firstServerOf(t, serverConfig(t, "--cluster-init", "--token=s3cret"))
	c := serverConfig(t, "--token=s3cret")
	c.Server = address
	if several, err := newServer(c).several(context.Background()); !several || err != nil {
		t.Fatalf("%t, %v", several, err)
	}
	for _, name := range sharedFiles() {
		want, err := os.ReadFile(first.id.file(name))
		if err != nil {
			t.Fatal(err)
		}
		file := c.Dir("server", "tls", name)
		got, err := os.ReadFile(file)
		if err != nil || string(got) != string(want) {
			t.Errorf("%s: %v", name, err)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	// As a member it asks no one any more.
	if err := os.MkdirAll(filepath.Join(etcd.DataDir(c), "member", "wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	c.Server = "192.0.2.1:9345"
	if several, err := newServer(c).several(context.Background()); !several || err != nil {
		t.Errorf("%t, %v", several, err)
	}
}

func TestServersOfOneClusterAgree(t *testing.T) {
	address, _ := firstServerOf(t, serverConfig(t, "--cluster-init", "--token=s3cret"))
	c := serverConfig(t, "--token=s3cret", "--cluster-domain=other.local")
	c.Server = address
	if _, err := newServer(c).several(context.Background()); !errors.Is(err, join.ErrRefused) || !strings.Contains(err.Error(), "other.local") {
		t.Errorf("got %v", err)
	}
}
